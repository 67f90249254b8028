;; Its most important function answers with something else.
;;@ wit-replace ["export run: func(call: call) -> result<report, tool-error>", "export run: func(call: call) -> string"]
