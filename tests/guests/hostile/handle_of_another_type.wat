;; Writes to a reader.
;;@ plan-inputs ["data"]
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (call $write (i32.load (i32.const 68)) (global.get $HELLO) (global.get $HELLO_LEN))
  (global.get $REPORT))
