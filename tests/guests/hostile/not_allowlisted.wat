;; A component that no policy names: nothing may parse it. Its bytes are cut short, so whoever does
;; parse them says so.
;;@ truncate 400
