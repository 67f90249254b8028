;; Takes the promise of a step's one file again and again, and gives none back.
;;@ text:TYPE "TEXT"
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.capture" (func $capture (param i32 i32 i32) (result i32)))
;;; end of imports
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $step i32)
  (i32.store (i32.const 256) (global.get $OUT))
  (i32.store (i32.const 260) (global.get $OUT_LEN))
  (i32.store (i32.const 264) (global.get $TYPE))
  (i32.store (i32.const 268) (global.get $TYPE_LEN))
  (local.set $step
    (call $start (global.get $OUT) (global.get $OUT_LEN) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 1) (i64.const 1048576) (i64.const 60)))
  (loop $again
    (drop (call $capture (local.get $step) (global.get $OUT) (global.get $OUT_LEN)))
    (br $again))
  (unreachable))
