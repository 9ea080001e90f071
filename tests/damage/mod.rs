//! Damage of every kind of file of a whole project: detected, with the file's name, or harmless; and `fsck`, which finds it and
//! makes it anew.

mod fsck;
mod specimen;
mod sweep;
