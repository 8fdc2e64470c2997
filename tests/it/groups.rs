//! Task groups: who ends when, who is cancelled by whom, and which errors come out.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use corering::task::cancel::{self, finally};
use corering::task::{self, GroupError, SpawnError, StartError, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{TaskGroup, spawn};

use crate::{Log, OnDrop, SECOND, alive, log, scene, settled, told};

type Outcome = Result<(), &'static str>;

fn errors<E: Clone>(error: &GroupError<E>) -> Vec<E> {
    error.iter().map(|failure| failure.error().clone()).collect()
}

/// Waits for ever, and says when it was cancelled and, a second later, that it was cleaned up after.
async fn cleaned(seen: Log, cancelled: &'static str, cleaned: &'static str) -> Outcome {
    let inner = seen.clone();
    let _drop = OnDrop(move || log(&inner, cancelled));
    finally(pending::<()>(), async move {
        sleep(SECOND).await;
        log(&seen, cleaned);
    })
    .await;
    Ok(())
}

#[test]
fn a_group_is_left_when_all_its_tasks_have_ended_and_what_they_gave_is_there() {
    scene(async || {
        let began = Instant::now();
        let (first, second) = TaskGroup::scope(async |group| {
            let after = |seconds: u32| async move {
                sleep(seconds * SECOND).await;
                Ok::<_, &str>(seconds)
            };
            Ok((group.spawn(after(2)), group.spawn(after(3))))
        })
        .await
        .expect("no failure");
        assert_eq!(began.elapsed(), 3 * SECOND);
        assert!(first.is_finished() && second.is_finished());
        assert_eq!((first.await.expect("2"), second.await.expect("3")), (2, 3));
    });
}

#[test]
fn children_spawn_into_a_group_whose_body_has_ended_and_a_body_spawns_after_it_has_waited() {
    scene(async || {
        let (began, seen) = (Instant::now(), Log::default());
        TaskGroup::scope(async |group| {
            sleep(SECOND).await;
            let (inner, seen) = (group.clone(), seen.clone());
            group.spawn(async move {
                sleep(SECOND).await;
                inner.spawn(async move {
                    sleep(SECOND).await;
                    log(&seen, "grandchild");
                    Outcome::Ok(())
                });
                Ok(())
            });
            Ok(())
        })
        .await
        .expect("no failure");
        assert_eq!((began.elapsed(), &seen.borrow()[..]), (3 * SECOND, &["grandchild"][..]));
    });
}

#[test]
fn a_child_that_is_cancelled_by_itself_is_no_failure_of_the_group() {
    scene(async || {
        let value = TaskGroup::scope(async |group| {
            let victim = group.spawn(async { pending::<Outcome>().await });
            let other = group.spawn(async {
                sleep(SECOND).await;
                Ok(7)
            });
            yield_now().await;
            assert!(victim.abort());
            assert!(victim.await.expect_err("aborted").is_cancelled());
            Ok(other.await.expect("goes on"))
        });
        assert_eq!(value.await.expect("no failure"), 7);
    });
}

#[test]
fn the_error_of_a_child_cancels_its_siblings_and_the_body_at_its_wait() {
    scene(async || {
        let (began, seen) = (Instant::now(), Log::default());
        let scope = TaskGroup::scope(async |group| {
            group.spawn(cleaned(seen.clone(), "sibling cancelled", "sibling cleaned up"));
            group.spawn(async {
                sleep(SECOND).await;
                Outcome::Err("wrong")
            });
            let inner = seen.clone();
            let _drop = OnDrop(move || log(&inner, "body cancelled"));
            pending::<()>().await;
            log(&seen, "never");
            Ok(())
        });
        let error = scope.await.expect_err("it failed");
        assert_eq!(errors(&error), ["wrong"]);
        assert!(error.iter().next().expect("one").task().is_some());
        assert_eq!(began.elapsed(), 2 * SECOND, "not before it was cleaned up");
        assert_eq!(*seen.borrow(), ["body cancelled", "sibling cancelled", "sibling cleaned up"]);
    });
}

#[test]
fn children_that_fail_in_one_turn_are_all_told_and_none_that_was_only_cancelled() {
    // They fail in one turn, in that order.
    let _special = crate::tasks_in_order();
    scene(async || {
        let error = TaskGroup::scope(async |group| {
            for what in ["one", "two", "three"] {
                group.spawn(async move {
                    sleep(SECOND).await;
                    Outcome::Err(what)
                });
            }
            group.spawn(async { pending::<Outcome>().await });
            Ok(())
        })
        .await
        .expect_err("they failed");
        assert_eq!(errors(&error), ["one", "two", "three"]);
        assert!(!error.is_cancelled());
    });
}

#[test]
fn the_error_of_the_body_cancels_the_children_and_waits_for_them() {
    scene(async || {
        let (told, seen) = (told(), Log::default());
        let error = TaskGroup::scope(async |group| {
            group.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
            group.spawn(finally(pending::<Outcome>(), async { Err::<(), _>("not cleaned up") }));
            sleep(SECOND).await;
            Outcome::Err("body")
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["body"]);
        assert!(error.iter().next().expect("one").task().is_none(), "it was the body");
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);
        // Cleanup that fails is told apart: it has no type of error of the group.
        assert!(matches!(&told.borrow()[..], [one] if one.contains("not cleaned up")), "{told:?}");
    });
}

/// A task whose group has five children, each with cleanup; how many were cleaned up.
fn parent(waits_in_the_body: bool) -> (corering::JoinHandle<()>, Rc<Cell<u32>>) {
    let cleaned_up = Rc::new(Cell::new(0));
    let count = cleaned_up.clone();
    let task = spawn(async move {
        let scope = TaskGroup::scope(async |group| {
            for _ in 0..5 {
                let count = count.clone();
                group.spawn(finally(pending::<Outcome>(), async move {
                    sleep(SECOND).await;
                    count.set(count.get() + 1);
                }));
            }
            if waits_in_the_body {
                pending::<()>().await;
            }
            Ok(())
        });
        scope.await.expect("never");
        unreachable!("code after the group");
    });
    (task, cleaned_up)
}

#[test]
fn a_cancel_from_outside_reaches_the_children_and_waits_for_their_cleanup() {
    scene(async || {
        for waits_in_the_body in [true, false] {
            let (task, cleaned_up) = parent(waits_in_the_body);
            sleep(SECOND).await;
            let began = Instant::now();
            assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
            assert_eq!((cleaned_up.get(), began.elapsed(), alive()), (5, SECOND, 1));
        }
    });
}

#[test]
fn what_children_fail_with_after_a_cancel_from_outside_is_told_and_the_task_stays_cancelled() {
    scene(async || {
        let told = told();
        let task = spawn(async {
            let scope = TaskGroup::scope(async |group| {
                group.spawn(finally(pending::<Outcome>(), async { Err::<(), _>("in its cleanup") }));
                pending::<Outcome>().await
            });
            scope.await.is_err()
        });
        settled().await;
        settled().await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        assert!(matches!(&told.borrow()[..], [one] if one.contains("in its cleanup")), "{told:?}");
    });
}

/// An error that was there when the cancel came has nobody to go to, but is not lost.
#[test]
fn what_had_failed_in_a_group_that_is_cancelled_in_the_same_turn_is_told() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        for others in [0, 3] {
            let told = told();
            let task = spawn(async move {
                let scope = TaskGroup::scope(async |group| {
                    group.spawn(async {
                        sleep(SECOND).await;
                        Outcome::Err("too late")
                    });
                    for _ in 0..others {
                        group.spawn(pending::<Outcome>());
                    }
                    pending::<Outcome>().await
                });
                scope.await.is_err()
            });
            // The task is aborted, then the child runs, then the task is dropped.
            drop(corering::time::call_later(SECOND, move || assert!(task.abort())));
            sleep(2 * SECOND).await;
            assert_eq!(alive(), 1);
            assert!(matches!(&told.borrow()[..], [one] if one.contains("too late")), "{told:?}");
        }
    });
}

#[test]
fn a_panic_in_a_group_that_is_cancelled_in_the_same_turn_is_told() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        for others in [0, 3] {
            let told = told();
            let task = spawn(async move {
                let scope = TaskGroup::scope(async |group| {
                    group.spawn(async {
                        sleep(SECOND).await;
                        if true {
                            panic!("too late");
                        }
                        Outcome::Ok(())
                    });
                    for _ in 0..others {
                        group.spawn(pending::<Outcome>());
                    }
                    pending::<Outcome>().await
                });
                scope.await.is_err()
            });
            drop(corering::time::call_later(SECOND, move || assert!(task.abort())));
            sleep(2 * SECOND).await;
            assert_eq!(alive(), 1);
            assert!(told.borrow().iter().any(|one| one.contains("too late")), "{told:?}");
        }
    });
}

#[test]
fn a_second_cancel_while_children_are_cleaned_up_after_changes_nothing() {
    scene(async || {
        let (seen, polls) = (Log::default(), Rc::new(Cell::new(0)));
        let task = spawn({
            let (seen, polls) = (seen.clone(), polls.clone());
            async move {
                let scope = TaskGroup::scope(async |group| {
                    group.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
                    pending::<Outcome>().await
                });
                let mut scope = pin!(scope);
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    scope.as_mut().poll(cx)
                })
                .await
                .is_ok()
            }
        });
        settled().await;
        settled().await;
        assert!(task.abort());
        sleep(SECOND / 2).await;
        assert!(!task.abort(), "it is being cleaned up after");
        assert!(!task.is_finished());
        let polled = polls.get();
        sleep(SECOND).await;
        assert!(task.is_finished());
        assert_eq!(polls.get(), polled);
        assert!(task.await.expect_err("cancelled").is_cancelled());
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);
    });
}

#[test]
fn the_error_of_an_inner_group_is_one_of_the_outer() {
    scene(async || {
        let error = TaskGroup::scope(async |outer| {
            outer.spawn(async {
                TaskGroup::scope(async |inner| {
                    inner.spawn(async { Outcome::Err("deep") });
                    Ok(())
                })
                .await
            });
            Ok(())
        })
        .await
        .expect_err("it failed");
        assert_eq!((error.len(), error.first().expect("a group").len()), (1, 1));
        assert_eq!(errors(&error.flatten()), ["deep"]);
    });
}

#[test]
fn an_error_of_the_outer_group_ends_an_inner_one_that_waits_without_an_error_of_its_own() {
    scene(async || {
        let seen = Log::default();
        let error = TaskGroup::scope(async |outer| {
            outer.spawn(async {
                sleep(SECOND).await;
                Outcome::Err("outer")
            });
            let inner = TaskGroup::scope(async |inner| {
                inner.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
                Ok(())
            });
            let _: Result<(), GroupError<&str>> = inner.await;
            log(&seen, "never");
            Ok(())
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["outer"]);
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);
    });
}

/// Each cancel is known by who sent it: that of the inner group is over when it is handled, and the outer one's is
/// still to come (asyncio, gh-116720).
#[test]
fn of_two_groups_that_fail_in_one_turn_the_outer_one_wins() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        let seen = Log::default();
        let error = TaskGroup::scope(async |outer| {
            let inner = TaskGroup::scope(async |inner| {
                inner.spawn(async {
                    sleep(SECOND).await;
                    Outcome::Err("inner")
                });
                outer.spawn(async {
                    sleep(SECOND).await;
                    Outcome::Err("outer")
                });
                pending::<Outcome>().await
            });
            assert_eq!(errors(&inner.await.expect_err("it failed")), ["inner"]);
            log(&seen, "inner handled");
            sleep(SECOND).await;
            log(&seen, "never");
            Ok(())
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["outer"]);
        // The outer scope is polled first, and drops the inner one before that could say anything.
        assert!(seen.borrow().is_empty(), "{seen:?}");
    });
}

/// Where asyncio lets a body catch the cancel and wait on, here its wait is dropped; what it has to do then belongs in
/// a cleanup, for which the group waits.
#[test]
fn a_body_cannot_outlive_the_cancel_of_its_group_but_its_cleanup_can() {
    scene(async || {
        let (began, seen) = (Instant::now(), Log::default());
        let error = TaskGroup::scope(async |group| {
            group.spawn(async { Outcome::Err("child") });
            let seen = seen.clone();
            finally(pending::<()>(), async move {
                sleep(SECOND / 2).await;
                log(&seen, "cleaned up");
            })
            .await;
            Outcome::Err("it cannot go on")
        });
        let error = error.await.expect_err("it failed");
        assert_eq!(errors(&error), ["child"]);
        assert_eq!((began.elapsed(), &seen.borrow()[..]), (SECOND / 2, &["cleaned up"][..]));
    });
}

/// Where asyncio lets a body turn the cancel into an error of its own, here a failing cleanup is told apart, and the
/// group has the error that there was.
#[test]
fn a_body_cannot_turn_the_cancel_of_its_group_into_another_error() {
    scene(async || {
        let told = told();
        let error = TaskGroup::scope(async |group| {
            group.spawn(async { Outcome::Err("child") });
            finally(pending::<Outcome>(), async { Err::<(), _>("another") }).await
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["child"]);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("another")), "{told:?}");
    });
}

#[test]
fn a_group_that_ends_or_has_ended_takes_no_more_tasks() {
    scene(async || {
        let (polled, dropped) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let late = || {
            let (polled, dropped) = (polled.clone(), dropped.clone());
            let on_drop = OnDrop(move || dropped.set(dropped.get() + 1));
            async move {
                let _on_drop = on_drop;
                polled.set(true);
                Outcome::Ok(())
            }
        };
        let kept = TaskGroup::scope(async |group| {
            group.spawn(finally(pending::<Outcome>(), sleep(SECOND)));
            yield_now().await;
            group.cancel();
            assert_eq!(group.try_spawn(late()).expect_err("it ends"), SpawnError::ShuttingDown);
            assert_eq!(dropped.get(), 1);
            let refused = group.spawn(late());
            assert!(refused.is_finished() && refused.id().is_none() && !refused.abort());
            assert_eq!(refused.await.expect_err("refused").spawn_error(), Some(SpawnError::ShuttingDown));
            Ok(group.clone())
        });
        let kept = kept.await.expect("the body had its value");
        assert_eq!(kept.try_spawn(late()).expect_err("it has ended"), SpawnError::Finished);
        let unpolled = late();
        let refused = kept.start(async move |_: corering::task::Started<()>| unpolled.await).await;
        assert!(matches!(refused, Err(StartError::Refused(SpawnError::Finished))));
        assert_eq!((polled.get(), dropped.get()), (false, 4));
    });
}

async fn hydra(group: TaskGroup<&'static str>, heads: Rc<Cell<u32>>) -> Outcome {
    yield_now().await;
    heads.set(heads.get() + 1);
    if heads.get() == 100 {
        return Err("the last head");
    }
    for _ in 0..2 {
        let next: std::pin::Pin<Box<dyn Future<Output = Outcome>>> = Box::pin(hydra(group.clone(), heads.clone()));
        group.spawn(next);
    }
    Ok(())
}

#[test]
fn a_group_whose_children_spawn_more_and_more_ends_when_one_fails() {
    scene(async || {
        let heads = Rc::new(Cell::new(0));
        let error = TaskGroup::scope(async |group| {
            group.spawn(hydra(group.clone(), heads.clone()));
            Ok(())
        })
        .await
        .expect_err("it failed");
        assert_eq!(error.first(), Some(&"the last head"));
        assert_eq!((alive(), Rc::strong_count(&heads)), (1, 1));
    });
}

#[test]
fn a_long_lived_group_keeps_nothing_of_those_that_have_ended() {
    scene(async || {
        let token = Rc::new(());
        TaskGroup::scope(async |group| {
            for round in 0..1000 {
                let token = token.clone();
                let child = group.spawn(async move {
                    settled().await;
                    drop(token);
                    Ok(())
                });
                if round % 2 == 0 {
                    drop(child);
                } else {
                    child.await.expect("no failure");
                }
                assert!(group.len() <= 2);
            }
            settled().await;
            settled().await;
            assert!(group.is_empty());
            Outcome::Ok(())
        })
        .await
        .expect("no failure");
        assert_eq!(Rc::strong_count(&token), 1);
    });
}

/// Catches the panic of an awaited future.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err((*payload.downcast::<&str>().expect("a text")).to_owned())),
    })
    .await
}

#[test]
fn a_panic_of_a_child_is_raised_again_when_all_others_have_ended() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (told, seen, began) = (told(), Log::default(), Instant::now());
        let scope = TaskGroup::scope(async |group| {
            group.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
            group.spawn(async {
                sleep(SECOND).await;
                Outcome::Err("failed in the same turn")
            });
            group.spawn(async {
                sleep(SECOND).await;
                if true {
                    panic!("a child's");
                }
                Outcome::Ok(())
            });
            pending::<Outcome>().await
        });
        assert_eq!(caught(scope).await.map(|result| result.is_ok()), Err("a child's".to_owned()));
        assert_eq!(began.elapsed(), 2 * SECOND);
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("failed in the same turn")), "{told:?}");
    });
}

#[test]
fn a_panic_of_the_body_is_raised_again_when_the_children_have_ended() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let scope = TaskGroup::scope(async |group| {
            group.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
            sleep(SECOND).await;
            if true {
                panic!("the body's");
            }
            Outcome::Ok(())
        });
        assert_eq!(caught(scope).await.map(|result| result.is_ok()), Err("the body's".to_owned()));
        assert_eq!((began.elapsed(), alive()), (2 * SECOND, 1));
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);
    });
}

#[test]
fn of_several_panics_the_first_is_raised_and_the_others_are_told() {
    // Both panic in one turn, in that order.
    let _special = crate::tasks_in_order();
    scene(async || {
        let told = told();
        let scope = TaskGroup::scope(async |group| {
            for text in ["the first", "the second"] {
                group.spawn(async move {
                    sleep(SECOND).await;
                    if true {
                        std::panic::panic_any(text);
                    }
                    Outcome::Ok(())
                });
            }
            Ok(())
        });
        assert_eq!(caught(scope).await.map(|result| result.is_ok()), Err("the first".to_owned()));
        assert!(matches!(&told.borrow()[..], [one] if one.contains("the second")), "{told:?}");
    });
}

#[test]
fn a_group_that_is_cancelled_gives_what_its_body_had_and_cancelling_again_does_nothing() {
    scene(async || {
        // By its body, which then returns.
        let value = TaskGroup::scope(async |group| {
            group.spawn(pending::<Outcome>());
            yield_now().await;
            group.cancel();
            group.cancel();
            Ok(5)
        });
        assert_eq!(value.await.expect("the value was there"), 5);

        // By its body, which then waits.
        let cut = TaskGroup::scope(async |group| {
            group.cancel();
            pending::<Outcome>().await
        });
        let error = cut.await.expect_err("cut short");
        assert!(error.is_cancelled() && error.is_empty() && error.first().is_none());

        // By a child, when the body had ended.
        let value = TaskGroup::scope(async |group| {
            let inner = group.clone();
            group.spawn(async move {
                sleep(SECOND).await;
                inner.cancel();
                Outcome::Ok(())
            });
            group.spawn(pending::<Outcome>());
            Ok(6)
        });
        assert_eq!(value.await.expect("the value was there"), 6);

        // After its end.
        let kept = TaskGroup::scope(async |group| Ok::<_, &str>(group.clone())).await.expect("no failure");
        kept.cancel();
        assert!(kept.is_empty());
    });
}

#[test]
fn a_child_that_fails_while_its_group_is_cancelled_is_told_by_the_group() {
    scene(async || {
        let error = TaskGroup::scope(async |group| {
            group.spawn(async {
                sleep(SECOND).await;
                Outcome::Err("on its way")
            });
            settled().await;
            sleep(SECOND).await;
            // The child was woken before this one, and has failed by now.
            group.cancel();
            Ok(1)
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["on its way"]);
    });
}

#[test]
fn a_cancel_of_a_group_hides_neither_a_timeout_nor_a_cancel_from_outside() {
    scene(async || {
        let scope = || {
            TaskGroup::scope(async |group| {
                group.spawn(finally(pending::<Outcome>(), sleep(10 * SECOND)));
                settled().await;
                group.cancel();
                pending::<Outcome>().await
            })
        };
        let began = Instant::now();
        assert!(timeout(SECOND, scope()).await.is_err());
        assert_eq!(began.elapsed(), 10 * SECOND, "the cleanup is waited for");

        let task = spawn(async move { scope().await.is_ok() });
        sleep(SECOND).await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
    });
}

#[test]
fn a_child_may_end_its_group_in_its_first_poll() {
    // Its sibling begins after it.
    let _special = crate::tasks_in_order();
    scene(async || {
        let cancelled = TaskGroup::scope(async |group| {
            let inner = group.clone();
            group.spawn(async move {
                inner.cancel();
                yield_now().await;
                unreachable!("it was cancelled, too");
                #[allow(unreachable_code, reason = "gives the type")]
                Outcome::Ok(())
            });
            pending::<Outcome>().await
        });
        assert!(cancelled.await.expect_err("cancelled").is_cancelled());

        let failed = TaskGroup::scope(async |group| {
            let inner = group.clone();
            group.spawn(async move {
                inner.spawn(async { Outcome::Err("sibling") });
                yield_now().await;
                yield_now().await;
                yield_now().await;
                unreachable!("its sibling failed");
                #[allow(unreachable_code, reason = "gives the type")]
                Outcome::Ok(())
            });
            pending::<Outcome>().await
        });
        assert_eq!(errors(&failed.await.expect_err("failed")), ["sibling"]);
        assert_eq!(alive(), 1);
    });
}

#[test]
fn after_a_group_has_failed_the_next_wait_is_not_cut() {
    scene(async || {
        let task = spawn(async {
            for _ in 0..3 {
                let failed = TaskGroup::scope(async |group| {
                    group.spawn(async { Outcome::Err("wrong") });
                    pending::<Outcome>().await
                });
                assert!(failed.await.is_err());
                yield_now().await;
                sleep(SECOND).await;
            }
            "went on"
        });
        assert_eq!(task.await.expect("not cancelled"), "went on");
    });
}

#[test]
fn a_child_that_is_started_says_when_it_is_ready_and_goes_on() {
    scene(async || {
        let (began, seen) = (Instant::now(), Log::default());
        TaskGroup::scope(async |group| {
            let seen = seen.clone();
            let port = group
                .start(async move |started| {
                    sleep(SECOND).await;
                    started.ready(4000);
                    sleep(SECOND).await;
                    log(&seen, "served");
                    Outcome::Ok(())
                })
                .await
                .expect("it was ready");
            assert_eq!((port, began.elapsed()), (4000, SECOND));
            Ok(())
        })
        .await
        .expect("no failure");
        assert_eq!((began.elapsed(), &seen.borrow()[..]), (2 * SECOND, &["served"][..]));
    });
}

#[test]
fn what_goes_wrong_before_a_child_is_ready_goes_to_its_starter_and_later_to_the_group() {
    scene(async || {
        let error = TaskGroup::scope(async |group| {
            let early = group.start(async |_: corering::task::Started<()>| Outcome::Err("early")).await;
            assert!(matches!(early, Err(StartError::Failed("early"))));
            let silent = group.start(async |_: corering::task::Started<()>| Outcome::Ok(())).await;
            assert!(matches!(silent, Err(StartError::NotStarted)));
            let late = group.start(async |started| {
                started.ready(1);
                yield_now().await;
                Outcome::Err("late")
            });
            assert_eq!(late.await.expect("it was ready"), 1);
            pending::<Outcome>().await
        })
        .await
        .expect_err("it failed");
        assert_eq!(errors(&error), ["late"]);
    });
}

#[test]
fn a_start_that_is_dropped_cancels_its_child_and_keeps_the_group_open_meanwhile() {
    scene(async || {
        let seen = Log::default();
        TaskGroup::scope(async |group| {
            let child = seen.clone();
            let start = group.start(async move |_started: corering::task::Started<()>| {
                cleaned(child, "cancelled", "cleaned up").await
            });
            assert!(timeout(SECOND, start).await.is_err());
            assert_eq!(group.len(), 1);
            Ok(())
        })
        .await
        .expect("no failure");
        assert_eq!(*seen.borrow(), ["cancelled", "cleaned up"]);

        // The group waits for one that is started by another child.
        let began = Instant::now();
        TaskGroup::scope(async |group| {
            let inner = group.clone();
            group.spawn(async move {
                let slow = async |started: corering::task::Started<()>| {
                    sleep(SECOND).await;
                    started.ready(());
                    Outcome::Ok(())
                };
                inner.start(slow).await.map_err(|_| "not ready")
            });
            Ok(())
        })
        .await
        .expect("no failure");
        assert_eq!(began.elapsed(), SECOND);
    });
}

#[test]
fn what_is_deferred_is_done_after_all_children_the_latest_first_however_the_group_ends() {
    scene(async || {
        for end in ["value", "error", "timeout"] {
            let seen = Log::default();
            let scope = TaskGroup::scope(async |group| {
                for what in ["deferred first", "deferred last"] {
                    let seen = seen.clone();
                    group.defer(async move {
                        sleep(SECOND).await;
                        log(&seen, what);
                    });
                }
                group.spawn(cleaned(seen.clone(), "cancelled", "cleaned up"));
                settled().await;
                match end {
                    "value" => {
                        group.cancel();
                        Ok(())
                    }
                    "error" => Err("wrong"),
                    _ => pending().await,
                }
            });
            let limit = if end == "timeout" { SECOND } else { 100 * SECOND };
            match (timeout(limit, scope).await, end) {
                (Err(_), "timeout") | (Ok(Err(_)), "error") | (Ok(Ok(())), "value") => {}
                (outcome, _) => panic!("{end}: {outcome:?}"),
            }
            assert_eq!(*seen.borrow(), ["cancelled", "cleaned up", "deferred last", "deferred first"], "{end}");
        }
    });
}

#[test]
fn what_is_deferred_is_done_one_after_the_other_although_the_scope_is_cancelled_meanwhile() {
    scene(async || {
        for cut in [1, 3, 5] {
            let (seen, began) = (Log::default(), Instant::now());
            let scope = TaskGroup::scope(async |group| {
                for what in [["3 begins", "3 ends"], ["2 begins", "2 ends"], ["1 begins", "1 ends"]] {
                    let seen = seen.clone();
                    group.defer(async move {
                        log(&seen, what[0]);
                        sleep(2 * SECOND).await;
                        log(&seen, what[1]);
                    });
                }
                Outcome::Ok(())
            });
            assert!(timeout(cut * SECOND, scope).await.is_err());
            assert_eq!(seen.take(), ["1 begins", "1 ends", "2 begins", "2 ends", "3 begins", "3 ends"]);
            assert_eq!(began.elapsed(), 6 * SECOND);
        }
    });
}

#[test]
fn what_is_deferred_is_done_after_the_cleanup_of_the_body_however_the_group_ends() {
    scene(async || {
        for end in ["error", "timeout", "timeout while it is cleaned up"] {
            let seen = Log::default();
            let scope = TaskGroup::scope(async |group| {
                let deferred = seen.clone();
                group.defer(async move { log(&deferred, "deferred") });
                if end != "timeout" {
                    group.spawn(async { Outcome::Err("wrong") });
                }
                cleaned(seen.clone(), "cancelled", "cleaned up").await
            });
            let limit = if end == "error" { 100 * SECOND } else { SECOND / 2 };
            assert_eq!(timeout(limit, scope).await.is_err(), end != "error");
            assert_eq!(seen.take(), ["cancelled", "cleaned up", "deferred"], "{end}");
        }
    });
}

#[test]
fn a_panic_in_what_is_deferred_is_raised_and_the_rest_is_done() {
    scene(async || {
        let seen = Log::default();
        let rest = seen.clone();
        let scope = TaskGroup::scope(async move |group| {
            group.defer(async move {
                sleep(SECOND).await;
                log(&rest, "the rest");
            });
            group.defer(async {
                sleep(SECOND).await;
                if true {
                    panic!("deferred");
                }
            });
            Outcome::Ok(())
        });
        let task = spawn(async move { caught(scope).await.map(|result| result.is_ok()) });
        assert_eq!(task.await.expect("caught"), Err("deferred".to_owned()));
        assert_eq!(seen.take(), ["the rest"]);
    });
}

#[test]
fn what_is_deferred_and_fails_is_told() {
    scene(async || {
        let told = told();
        TaskGroup::scope(async |group| {
            group.defer(async { Err::<(), _>("not closed") });
            Outcome::Ok(())
        })
        .await
        .expect("no failure");
        assert!(matches!(&told.borrow()[..], [one] if one.contains("not closed")), "{told:?}");
    });
}

#[test]
fn futures_of_a_local_scope_borrow_run_beside_the_body_and_end_with_the_first_failure() {
    scene(async || {
        let (count, words) = (Cell::new(0), ["a", "bc"].map(str::to_owned));
        let began = Instant::now();
        let sum = task::local_scope(async |scope| {
            let children: Vec<_> = words
                .iter()
                .map(|word| {
                    let count = &count;
                    scope.spawn(async move {
                        sleep(SECOND).await;
                        count.set(count.get() + 1);
                        Ok::<_, &str>(word.len())
                    })
                })
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.await;
            }
            Ok(sum)
        });
        assert_eq!(sum.await.expect("no failure"), 3);
        assert_eq!((count.get(), began.elapsed()), (2, SECOND));

        let dropped = Cell::new(0);
        let failed = task::local_scope(async |scope| {
            for _ in 0..3 {
                let on_drop = OnDrop(|| dropped.set(dropped.get() + 1));
                drop(scope.spawn(async move {
                    let _on_drop = on_drop;
                    pending::<Outcome>().await
                }));
            }
            drop(scope.spawn(async { Outcome::Err("wrong") }));
            pending::<Outcome>().await
        });
        assert_eq!(errors(&failed.await.expect_err("it failed")), ["wrong"]);
        assert_eq!(dropped.get(), 3);
    });
}

#[test]
fn a_local_scope_waits_for_the_cleanup_of_what_it_drops() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let failed = task::local_scope(async |scope| {
            drop(scope.spawn(cleaned(seen.clone(), "cancelled", "cleaned up")));
            drop(scope.spawn(async {
                sleep(SECOND).await;
                Outcome::Err("wrong")
            }));
            Ok(())
        });
        assert!(failed.await.is_err());
        assert_eq!((&seen.borrow()[..], began.elapsed()), (&["cancelled", "cleaned up"][..], 2 * SECOND));
    });
}

#[test]
fn a_groups_errors_print_as_a_tree_with_their_tasks_and_can_be_split() {
    // Both fail in one turn, in that order.
    let _special = crate::tasks_in_order();
    scene(async || {
        let error = TaskGroup::scope(async |group| {
            for (name, what) in [("stock", "no answer"), ("fraud", "refused"), ("mail", "no answer")] {
                group.spawn(async move { Outcome::Err(what) }).name(name);
            }
            Ok(())
        })
        .await
        .expect_err("it failed");
        let tree = error.to_string();
        for part in ["3 failures", "'stock'", "'fraud'", "no answer", "refused", "├─", "└─"] {
            assert!(tree.contains(part), "{tree}");
        }
        let (refused, others) = error.split(|error| *error == "refused");
        assert_eq!((errors(&refused.expect("one")), errors(&others.expect("two")).len()), (vec!["refused"], 2));
    });
}

/// The cleanup of a group's own resource is run although the task around it is the one that is cancelled.
#[test]
fn a_resource_that_a_child_uses_is_released_before_the_group_says_that_it_has_failed() {
    scene(async || {
        let seen = Log::default();
        let error = TaskGroup::scope(async |group| {
            let seen = seen.clone();
            group.spawn(async move {
                let (used, released) = (seen.clone(), seen);
                cancel::with(
                    async { Ok("connection") },
                    async |_| {
                        log(&used, "used");
                        pending::<Outcome>().await
                    },
                    async move |_| {
                        sleep(SECOND).await;
                        log(&released, "released");
                        Ok(())
                    },
                )
                .await
            });
            sleep(SECOND).await;
            Outcome::Err("body")
        })
        .await;
        assert_eq!(errors(&error.expect_err("it failed")), ["body"]);
        assert_eq!(*seen.borrow(), ["used", "released"]);
    });
}

#[test]
fn a_destructor_that_panics_when_its_group_ends_is_told_and_the_group_has_its_error() {
    scene(async || {
        let told = told();
        let error = TaskGroup::scope(async |group| {
            group.spawn(async {
                let _drop = OnDrop(|| panic!("in the destructor"));
                pending::<Outcome>().await
            });
            settled().await;
            Outcome::Err("wrong")
        });
        assert_eq!(errors(&error.await.expect_err("it failed")), ["wrong"]);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("in the destructor")), "{told:?}");
    });
}
