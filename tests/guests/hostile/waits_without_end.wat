;; Starts one step and waits for it again and again: each wait is an ask of the host.
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.wait" (func $wait (param i32 i32)))
;;; end of imports
(func $step (result i32)
  (call $start (global.get $OUT) (global.get $OUT_LEN) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i64.const 1048576) (i64.const 60)))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $step i32)
  (local.set $step (call $step))
  (loop $again
    (call $wait (local.get $step) (i32.const 64))
    (br $again))
  (unreachable))
