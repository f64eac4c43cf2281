"""Steps that are methods, class methods and static methods."""

from dataclasses import dataclass

from witness import effect, end, seen

from perdure import step, workflow


@dataclass(frozen=True)
class Account:
    name: str

    @step
    def debit(self, amount: int) -> tuple[int, str]:
        token = effect("debit", f"{self.name}/{amount}")
        return -amount, token

    @staticmethod
    @step
    def fee(amount: int) -> tuple[int, str]:
        token = effect("fee", amount)
        return amount // 10, token


@workflow
def settle(names: list[str]) -> int:
    total = 0
    for name in names:
        account = Account(name)
        for amount in (10, 20):
            total += seen("debit", f"{name}/{amount}", account.debit(amount))
    for amount in (100, 200):
        total += seen("fee", amount, Account.fee(amount))
    return total


if __name__ == "__main__":
    end(settle(["ann", "bob", "cy"]))
