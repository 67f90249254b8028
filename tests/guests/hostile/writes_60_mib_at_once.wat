;; Hands the host 60 MiB, which it has, in one call.
;;@ limits {"guest.memory": "\"128MiB\""}
;;@ pages 1000
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $write (call $begin) (i32.const 0) (i32.const 62914560))
  (global.get $REPORT))
