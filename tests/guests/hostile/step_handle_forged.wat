;; Waits for a step that it never started.
(import "helix:toolpack/steps@1.0.0" "[method]step.wait" (func $wait (param i32 i32)))
;;; end of imports
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $wait (i32.const 12345) (i32.const 64))
  (global.get $REPORT))
