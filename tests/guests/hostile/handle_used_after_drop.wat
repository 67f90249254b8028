;; Goes on writing to a writer that it has given back.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $writer i32)
  (local.set $writer (call $begin))
  (call $drop_writer (local.get $writer))
  (call $write (local.get $writer) (global.get $HELLO) (global.get $HELLO_LEN))
  (global.get $REPORT))
