//! Attacks: by guests, by requests, by what an operator is made to write. Each test says what was
//! refused, what must not have happened, and that an honest call still works.

mod at_load;
mod at_run;
mod attack;
mod border;
mod listed;
mod outputs;
mod paths;
mod policies;
mod requests;
mod said;
mod shapes;
mod words;
