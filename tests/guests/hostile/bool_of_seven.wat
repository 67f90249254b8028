;; A description that says yes in a way that no toolchain writes.
;;@ read-only 7
