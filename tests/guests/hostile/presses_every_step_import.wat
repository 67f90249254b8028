;; Calls the import of `steps` and with the numbers that its params name, after it has started what it may:
;; a step (handle 1), a file of it (2), a step that it gave back (3) and a writer (4).
;;@ pages 20
;;@ text:TYPE "TEXT"
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"press\":{\"type\":\"string\",\"maxLength\":200}},\"required\":[\"press\"],\"additionalProperties\":false}"
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
(import "helix:toolpack/steps@1.0.0" "wait-any" (func $wait_any (param i32 i32) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.wait" (func $wait (param i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.capture" (func $capture (param i32 i32 i32) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]file.open" (func $open_file (param i32 i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[method]file.publish" (func $publish (param i32 i32 i32 i32 i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[resource-drop]step" (func $drop_step (param i32)))
(import "helix:toolpack/steps@1.0.0" "[resource-drop]file" (func $drop_file (param i32)))
;;; end of imports
(global $at (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 0))
;; The next number of the params; 0 where there is none.
(func $next (result i64)
  (local $byte i32) (local $number i64) (local $sign i64)
  (local.set $sign (i64.const 1))
  (block $found
    (loop $skip
      (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i64.const 0))))
      (local.set $byte (i32.load8_u (global.get $at)))
      (br_if $found (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10)))
      (if (i32.eq (local.get $byte) (i32.const 45)) (then (local.set $sign (i64.const -1))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (br $skip)))
  (loop $more
    (local.set $byte (i32.sub (i32.load8_u (global.get $at)) (i32.const 48)))
    (if (i32.lt_u (local.get $byte) (i32.const 10))
      (then
        (local.set $number
          (i64.add (i64.mul (local.get $number) (i64.const 10)) (i64.extend_i32_u (local.get $byte))))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br_if $more (i32.lt_u (global.get $at) (global.get $end))))))
  (i64.mul (local.get $number) (local.get $sign)))
(func $n (result i32) (i32.wrap_i64 (call $next)))
(func $step (result i32)
  (call $start (global.get $OUT) (global.get $OUT_LEN) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 1) (i64.const 1048576) (i64.const 60)))
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  ;; captures: out
  (i32.store (i32.const 256) (global.get $OUT))
  (i32.store (i32.const 260) (global.get $OUT_LEN))
  (i32.store (i32.const 264) (global.get $TYPE))
  (i32.store (i32.const 268) (global.get $TYPE_LEN))
  (drop (call $capture (call $step) (global.get $OUT) (global.get $OUT_LEN)))
  (drop (call $step))
  (drop (call $begin))
  (call $drop_step (i32.const 3))
  ;; Lists and mounts in which a handle stands, at 512 and 544.
  (global.set $at (local.get $params))
  (global.set $end (i32.add (local.get $params) (local.get $params_len)))
  (i32.store (i32.const 512) (call $n))
  (i32.store8 (i32.const 544) (i32.const 1))
  (i32.store (i32.const 548) (i32.load (i32.const 512)))
  (block $drop_file (block $drop_step (block $publish (block $open (block $capture (block $wait
    (block $wait_any (block $start
      (br_table $start $wait_any $wait $capture $open $publish $drop_step $drop_file (call $n)))
      (drop
        (call $start (call $n) (call $n) (call $n) (call $n) (call $n) (call $n) (call $n) (call $n) (call $n) (call $n)
          (i32.const -1) (i64.const -1) (i64.const -1)))
      (return (global.get $REPORT)))
      (drop (call $wait_any (call $n) (call $n))) (return (global.get $REPORT)))
      (call $wait (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (drop (call $capture (call $n) (call $n) (call $n))) (return (global.get $REPORT)))
      (call $open_file (call $n) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $publish (call $n) (call $n) (call $n) (call $n) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $drop_step (call $n)) (return (global.get $REPORT)))
  (call $drop_file (call $n))
  (global.get $REPORT))
