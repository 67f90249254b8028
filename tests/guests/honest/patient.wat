;; Takes its time: turns `rounds` million times, reporting after each, and so runs for as long as a
;; test needs it to. The rounds are the digits of its one param.
;;@ tool "patient"
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"rounds\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":999999}},\"required\":[\"rounds\"],\"additionalProperties\":false}"
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (local $rounds i32) (local $done i32) (local $turn i32) (local $end i32) (local $byte i32)
  (local.set $end (i32.add (local.get $params) (local.get $params_len)))
  (block $read
    (loop $next
      (br_if $read (i32.ge_u (local.get $params) (local.get $end)))
      (local.set $byte (i32.sub (i32.load8_u (local.get $params)) (i32.const 48)))
      (if (i32.lt_u (local.get $byte) (i32.const 10))
        (then (local.set $rounds (i32.add (i32.mul (local.get $rounds) (i32.const 10)) (local.get $byte)))))
      (local.set $params (i32.add (local.get $params) (i32.const 1)))
      (br $next)))
  (block $enough
    (loop $round
      (br_if $enough (i32.ge_u (local.get $done) (local.get $rounds)))
      (local.set $turn (i32.const 1000000))
      (loop $more
        (br_if $more (local.tee $turn (i32.sub (local.get $turn) (i32.const 1)))))
      (local.set $done (i32.add (local.get $done) (i32.const 1)))
      (call $progress (i64.extend_i32_u (local.get $done)) (i32.const 1) (i64.extend_i32_u (local.get $rounds))
        (i32.const 0) (i32.const 0))
      (br $round)))
  (call $finish (call $begin))
  (global.get $REPORT))
