;; Logs for as long as it may: 64 KiB, again and again.
;;@ limits {"guest.host_calls": "30000", "guest.fuel": "1000000000000"}
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $again
    (call $log (i32.const 1) (i32.const 131072) (i32.const 65536))
    (br $again))
  (unreachable))
