;; A module whose initialiser never returns.
(func $spin (loop $again (br $again)))
(export "_initialize" (func $spin))
