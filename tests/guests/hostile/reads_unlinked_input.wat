;; Opens an input that this call did not link, and would copy what it gets.
;;@ failed:NOT_LINKED "it is not linked"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (return (global.get $NOT_LINKED))))
  (call $finish (call $begin))
  (global.get $REPORT))
