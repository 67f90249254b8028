;; A module that never gets as far as being asked anything.
(func $spin (loop $again (br $again)))
(start $spin)
