;; Starts a step with one argument of 60 MiB, which it has.
;;@ limits {"guest.memory": "\"128MiB\""}
;;@ pages 1000
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
;;; end of imports
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 256) (i32.const 0))
  (i32.store (i32.const 260) (i32.const 62914560))
  (drop
    (call $start (global.get $OUT) (global.get $OUT_LEN) (i32.const 256) (i32.const 1) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i64.const 1048576) (i64.const 60)))
  (global.get $REPORT))
