;; Opens the file of a step that it never started.
(import "helix:toolpack/steps@1.0.0" "[method]file.open" (func $open_file (param i32 i32 i32)))
;;; end of imports
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $open_file (i32.const 12345) (i32.const 0) (i32.const 64))
  (global.get $REPORT))
