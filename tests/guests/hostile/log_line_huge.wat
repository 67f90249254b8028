;; Logs one line of 64 MiB.
;;@ limits {"guest.memory": "\"128MiB\""}
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 1100)))
  (call $log (i32.const 1) (i32.const 131072) (i32.const 67108864))
  (global.get $REPORT))
