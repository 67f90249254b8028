;; Begins a thousand outputs, each under another key.
;;@ outputs [["out", 1000]]
;;@ plan-most 64
;;@ text:KEY "aaaa"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $n i32)
  (loop $again
    (i32.store8 (global.get $KEY) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
    (i32.store8 offset=1 (global.get $KEY)
      (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
    (i32.store8 offset=2 (global.get $KEY) (i32.add (i32.const 97) (i32.shr_u (local.get $n) (i32.const 8))))
    (call $create (global.get $OUT) (global.get $OUT_LEN) (global.get $KEY) (global.get $KEY_LEN) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (unreachable)))
    (call $finish (i32.load (i32.const 68)))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
  (global.get $REPORT))
