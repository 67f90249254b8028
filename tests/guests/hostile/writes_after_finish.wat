;; Goes on writing to an output that it has ended.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $writer i32)
  (local.set $writer (call $begin))
  (call $finish (local.get $writer))
  (call $write (local.get $writer) (global.get $HELLO) (global.get $HELLO_LEN))
  (global.get $REPORT))
