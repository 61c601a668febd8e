//! `#[async_test]`, which redis-rs's tests have of a crate that is not published: a test is run on tokio, once for each way
//! to give it its argument.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, Type, parse_macro_input};

/// A test of no argument runs once, one of a `bool` with both, and one of a connection on a `MultiplexedConnection` and on
/// a `ConnectionManager`.
#[proc_macro_attribute]
pub fn async_test(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut body = parse_macro_input!(item as ItemFn);
    let name = std::mem::replace(&mut body.sig.ident, format_ident!("body"));
    let tests = match body.sig.inputs.first() {
        None => quote! {
            #[test]
            fn on_tokio() {
                block_on_all(body(), RuntimeType::Tokio);
            }
        },
        Some(FnArg::Typed(argument)) if matches!(&*argument.ty, Type::Path(_)) => quote! {
            #[test]
            fn with_true() {
                block_on_all(body(true), RuntimeType::Tokio);
            }

            #[test]
            fn with_false() {
                block_on_all(body(false), RuntimeType::Tokio);
            }
        },
        Some(_) => quote! {
            #[test]
            fn multiplexed_connection() {
                let ctx = TestContext::new();
                let test = async { body(ctx.async_connection().await.unwrap()).await };
                support::block_on_all(test, support::RuntimeType::Tokio);
            }

            #[test]
            fn connection_manager() {
                let ctx = TestContext::new();
                let test = async { body(ctx.client.get_connection_manager().await.unwrap()).await };
                support::block_on_all(test, support::RuntimeType::Tokio);
            }
        },
    };
    quote! {
        mod #name {
            use super::*;

            #body

            #tests
        }
    }
    .into()
}
