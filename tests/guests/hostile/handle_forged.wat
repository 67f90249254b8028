;; Writes to a handle that it was never given.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $finish (call $begin))
  (call $write (i32.const 12345) (global.get $HELLO) (global.get $HELLO_LEN))
  (global.get $REPORT))
