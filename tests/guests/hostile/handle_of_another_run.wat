;; Without `handle` it says which number its writer has; with it, it uses that number and asks for none.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"handle\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9}},\"additionalProperties\":false}"
;;@ result-schema "{\"type\":\"object\",\"properties\":{\"handle\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
;;@ result "{\"handle\":0}"
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (local $writer i32)
  (if (i32.gt_u (local.get $params_len) (i32.const 2))
    (then
      (call $finish
        (i32.sub
          (i32.load8_u (i32.sub (i32.add (local.get $params) (local.get $params_len)) (i32.const 2)))
          (i32.const 48)))))
  (local.set $writer (call $begin))
  (call $finish (local.get $writer))
  ;; The digit in the report's result.
  (i32.store8 offset=10 (i32.load offset=4 (global.get $REPORT)) (i32.add (i32.const 48) (local.get $writer)))
  (global.get $REPORT))
