;; Reads its input byte by byte, and goes on at its end.
;;@ limits {"guest.host_calls": "1000000"}
;;@ plan-inputs ["data"]
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $reader i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (local.set $reader (i32.load (i32.const 68)))
  (loop $again
    (call $read (local.get $reader) (i32.const 1) (i32.const 72))
    (br $again))
  (unreachable))
