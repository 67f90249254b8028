;; Starts a step a million times, and lets each go at once.
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[resource-drop]step" (func $drop_step (param i32)))
;;; end of imports
(func $step (result i32)
  (call $start (global.get $OUT) (global.get $OUT_LEN) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i64.const 1048576) (i64.const 60)))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 1000000))
  (loop $again
    (call $drop_step (call $step))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $finish (call $begin))
  (global.get $REPORT))
