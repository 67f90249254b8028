;; A run that answers, and then never lets go of its answer.
(func $spin (param i32) (loop $again (br $again)))
(export "cabi_post_run" (func $spin))
