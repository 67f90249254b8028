;; Opens its one input without end and closes none.
;;@ plan-inputs ["data"]
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $again
    (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 64)))))
  (unreachable))
