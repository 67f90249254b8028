;; An honest component that also holds a module with typed function references.
(module
  (type $t (func))
  (func (param (ref null $t)) (call_ref $t (local.get 0))))
