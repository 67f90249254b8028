;; An honest component that also holds a module with two memories.
(module
  (memory 1)
  (memory 1))
