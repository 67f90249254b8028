;; Leaves in its memory and its globals that it has planned, and would know it when it runs.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
;;@ result-schema "{\"type\":\"object\",\"properties\":{\"plans\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
;;@ result "{\"plans\":0}"
(global $plans (mut i32) (i32.const 0))
(func $plan (param i32 i32 i32 i32 i32 i32) (result i32)
  (global.set $plans (i32.add (global.get $plans) (i32.const 1)))
  (i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (i32.const 1)))
  (global.get $PLAN))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store8 offset=9 (i32.load offset=4 (global.get $REPORT))
    (i32.add (i32.const 48) (i32.add (global.get $plans) (i32.load8_u (i32.const 100)))))
  (call $finish (call $begin))
  (global.get $REPORT))
