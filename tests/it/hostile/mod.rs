//! Attacks: by guests, by requests, by what an operator is made to write. Each test says what was
//! refused, what must not have happened, and that an honest call still works.

mod artifacts;
mod at_load;
mod at_run;
mod attack;
mod border;
mod cancels;
mod doors;
mod known_files;
mod listed;
mod listing;
mod outputs;
mod paths;
mod policies;
mod previews;
mod quotas;
mod raw;
mod reloads;
mod requests;
mod said;
mod sessions;
mod shapes;
mod steps;
mod words;
