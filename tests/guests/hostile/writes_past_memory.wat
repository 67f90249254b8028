;; Hands the host a range that lies beyond its memory.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $write (call $begin) (i32.const 0xffffff00) (i32.const 0x1000))
  (global.get $REPORT))
