;; An honest component that also holds a module with tables that would cost the host 80 MB each.
(module
  (table 10000000 funcref))
