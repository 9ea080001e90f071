//! Cases worth naming.

use super::*;
