;; Calls itself with frames of tens of kilobytes: few of them are more than a stack holds.
;;@ repeat:LOADS [3000, "(local.set {n} (v128.load offset={n} (local.get 0)))\n"]
;;@ repeat:STORES [3000, "(v128.store offset={n} (local.get 0) (local.get {n}))\n"]
;;@ repeat:LOCALS [3000, "v128 "]
(func $deeper (param i32) (result i32) (local <<LOCALS>>)
  <<LOADS>>
  (drop (call $deeper (i32.add (local.get 0) (i32.const 1))))
  <<STORES>>
  (i32.const 0))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (call $deeper (i32.const 131072)))
  (global.get $REPORT))
