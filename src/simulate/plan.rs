//! The online shop that is simulated: its functions, its queues, and how they are set up.
//!
//! ```text
//! POST /orders -> checkout -> payment (call)
//!                    └─ orders (queue) -> fulfil ─ shop-events (bus) ─┬> notify-customer
//!                         └─ orders-dlq -> dlq-inspector              └> loyalty
//!              checkout ─ review-order (workflow) -> review ... a person ... -> review
//! GET /catalog -> catalog ─ clicks (stream) -> analytics
//! ```

use std::time::Duration;

pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "us-east-1";
/// `service.name` of every function.
pub(super) const SERVICE: &str = "shop";
/// `faas.version` of every function.
pub(super) const VERSION: &str = "$LATEST";

pub(super) const ORDERS: &str = "orders";
pub(super) const ORDERS_DLQ: &str = "orders-dlq";
pub(super) const SHOP_EVENTS: &str = "shop-events";
pub(super) const CLICKS: &str = "clicks";
/// A queue of somebody else.
pub(super) const PARTNERS: &str = "partners";

/// `orders` gives up on a message after so many receives.
pub(super) const RECEIVES_MAX: u32 = 3;
/// How long a message that was taken up stays hidden from others.
pub(super) const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits before the second and the third attempt of an asynchronous invocation (Lambda's own).
pub(super) const ASYNC_RETRY_WAITS: [Duration; 2] =
    [Duration::from_mins(1), Duration::from_mins(2)];
/// How long an idle instance is kept.
pub(super) const KEEP_ALIVE: Duration = Duration::from_mins(6);
/// Instances of one function that run at once; beyond it the platform throttles.
pub(super) const CONCURRENCY_MAX: usize = 1_000;
/// Prices of the x86_64 architecture in us-east-1, USD.
const GB_SECOND_USD: f64 = 0.000_016_666_7;
const REQUEST_USD: f64 = 0.000_000_2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    Checkout,
    Payment,
    Catalog,
    Fulfil,
    NotifyCustomer,
    Loyalty,
    Analytics,
    DlqInspector,
    /// A step of a workflow that waits for people.
    Review,
}

impl Function {
    pub const ALL: [Self; 9] = [
        Self::Checkout,
        Self::Payment,
        Self::Catalog,
        Self::Fulfil,
        Self::NotifyCustomer,
        Self::Loyalty,
        Self::Analytics,
        Self::DlqInspector,
        Self::Review,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Payment => "payment",
            Self::Catalog => "catalog",
            Self::Fulfil => "fulfil",
            Self::NotifyCustomer => "notify-customer",
            Self::Loyalty => "loyalty",
            Self::Analytics => "analytics",
            Self::DlqInspector => "dlq-inspector",
            Self::Review => "review",
        }
    }

    pub(super) fn arn(self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.as_str())
    }

    /// MiB.
    pub(super) const fn memory_mb(self) -> u32 {
        match self {
            Self::Checkout | Self::Fulfil => 512,
            Self::Catalog | Self::Analytics => 1024,
            _ => 256,
        }
    }

    pub(super) const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Payment => 3,
            Self::Catalog => 5,
            Self::Fulfil | Self::DlqInspector => 30,
            Self::Analytics => 60,
            _ => 10,
        })
    }

    /// Median of the init of a new instance.
    pub(super) const fn init(self) -> Duration {
        Duration::from_millis(match self {
            Self::Checkout => 620,
            Self::Payment => 480,
            Self::Catalog => 350,
            Self::Analytics => 800,
            _ => 400,
        })
    }

    /// Median of its own work, without calls.
    pub(super) const fn work(self) -> Duration {
        Duration::from_micros(match self {
            Self::Checkout => 9_000,
            Self::Payment => 6_000,
            Self::Catalog => 14_000,
            Self::Analytics => 25_000,
            _ => 8_000,
        })
    }

    /// Cost of one invocation, USD.
    pub(super) fn cost_usd(self, billed: Duration) -> f64 {
        let gigabytes = f64::from(self.memory_mb()) / 1024.0;
        billed.as_secs_f64() * gigabytes * GB_SECOND_USD + REQUEST_USD
    }
}

/// The execution of the workflow `review-order` with this name.
pub(super) fn execution_arn(name: &str) -> String {
    format!("arn:aws:states:{REGION}:{ACCOUNT}:execution:review-order:{name}")
}

pub(super) fn queue_arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}
