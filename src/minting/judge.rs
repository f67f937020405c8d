//! What an answer of the chain means for a ticket. Pure, and from typed codes only: message texts decide nothing.

use solana_instruction::error::InstructionError;
use solana_transaction_error::TransactionError;

/// `SystemError::ResultWithNegativeLamports`, also when a program's own transfer fails with it.
const SYSTEM_NEGATIVE_LAMPORTS: u32 = 1;
/// `SystemError::AccountAlreadyInUse`.
const SYSTEM_ALREADY_IN_USE: u32 = 0;
/// Transactions signed for one ticket before it is given up.
pub(super) const MAX_ATTEMPTS: u32 = 5;

/// What a transaction that landed and failed says of its tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The wallet could not pay; the tickets are not to blame.
    OutOfFunds,
    /// It was allowed too few compute units: the next one is allowed more.
    OutOfCompute,
    /// The ticket's address was not empty, perhaps: a ticket, or lamports that a stranger sent there after it was looked at.
    InUse,
    /// Something in the transaction is impossible as it is written.
    Impossible,
}

pub(super) fn judge(error: &TransactionError) -> Rejection {
    let out_of_funds = matches!(
        error,
        TransactionError::InsufficientFundsForFee
            | TransactionError::InsufficientFundsForRent { .. }
            | TransactionError::AccountNotFound
            | TransactionError::InstructionError(
                _,
                InstructionError::InsufficientFunds | InstructionError::Custom(SYSTEM_NEGATIVE_LAMPORTS),
            )
    );
    let out_of_compute = matches!(
        error,
        TransactionError::InstructionError(
            _,
            InstructionError::ComputationalBudgetExceeded | InstructionError::ProgramFailedToComplete,
        )
    );
    let in_use =
        matches!(error, TransactionError::InstructionError(_, InstructionError::Custom(SYSTEM_ALREADY_IN_USE)));
    if out_of_funds {
        Rejection::OutOfFunds
    } else if out_of_compute {
        Rejection::OutOfCompute
    } else if in_use {
        Rejection::InUse
    } else {
        Rejection::Impossible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_wallet_is_no_fault_of_the_ticket() {
        let at = |error| TransactionError::InstructionError(3, error);
        assert_eq!(judge(&at(InstructionError::Custom(1))), Rejection::OutOfFunds);
        assert_eq!(judge(&TransactionError::InsufficientFundsForFee), Rejection::OutOfFunds);
        assert_eq!(judge(&at(InstructionError::Custom(0))), Rejection::InUse);
        assert_eq!(judge(&at(InstructionError::Custom(2))), Rejection::Impossible);
        assert_eq!(judge(&at(InstructionError::ComputationalBudgetExceeded)), Rejection::OutOfCompute);
        assert_eq!(judge(&at(InstructionError::ProgramFailedToComplete)), Rejection::OutOfCompute);
        assert_eq!(judge(&at(InstructionError::InvalidAccountData)), Rejection::Impossible);
    }
}
