;; Logs at a level that there is none of.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $log (i32.const 200) (global.get $HELLO) (global.get $HELLO_LEN))
  (global.get $REPORT))
