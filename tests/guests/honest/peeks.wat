;; Opens its one input decoded, reads 16 bytes of it, lets it go and is content.
;;@ tool "peeks"
;;@ plan-inputs ["data"]
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 1) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (call $read (i32.load (i32.const 68)) (i32.const 16) (i32.const 64))
  (call $finish (call $begin))
  (global.get $REPORT))
