;; Gives one writer back twice.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $writer i32)
  (local.set $writer (call $begin))
  (call $finish (local.get $writer))
  (call $drop_writer (local.get $writer))
  (call $drop_writer (local.get $writer))
  (global.get $REPORT))
