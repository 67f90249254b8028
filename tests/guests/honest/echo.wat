;; Writes its params to its output and says them back.
;;@ tool "echo"
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"maxLength\":1000},\"times\":{\"type\":\"integer\",\"default\":1}},\"additionalProperties\":false}"
;;@ result-schema "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"},\"times\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (local $writer i32)
  (local.set $writer (call $begin))
  (call $write (local.get $writer) (local.get $params) (local.get $params_len))
  (call $finish (local.get $writer))
  ;; The report's first field, its result, becomes the params.
  (i32.store (i32.add (global.get $REPORT) (i32.const 4)) (local.get $params))
  (i32.store (i32.add (global.get $REPORT) (i32.const 8)) (local.get $params_len))
  (global.get $REPORT))
