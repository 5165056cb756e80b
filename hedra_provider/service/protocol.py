"""The protocol between Airflow's side and Hedra. It is the same for every version of Hedra's API.

No module above :mod:`hedra_provider.service` asks which version it is, or imports what only one version has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

# What every version works with. Airflow's side takes them from here.
from hedra_provider.api.calls import Call
from hedra_provider.service.submit_records import SubmitRecords
from hedra_provider.submission.budget import Limits, cost_drift
from hedra_provider.submission.plan import Plan, Rule
from hedra_provider.submission.pricing import Estimate, amount_text
from hedra_provider.submission.submit import Submission

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.records import ApiVersion, Balance, Generation, Voice
    from hedra_provider.service.avatar import AvatarRequest, PricedRequest
    from hedra_provider.submission.identity import RunIdentity
    from hedra_provider.submission.rates import Prices
    from hedra_provider.submission.v3.record import KeyPlace
    from hedra_provider.transfer.download import RemoteFile
    from hedra_provider.transfer.upload import StoredAsset

__all__ = [
    "Account",
    "Call",
    "CheckedAvatar",
    "Draft",
    "Estimate",
    "Hedra",
    "Limits",
    "PaidOnce",
    "Plan",
    "Rule",
    "Source",
    "Submission",
    "SubmitRecords",
    "Upload",
    "amount_text",
    "cost_drift",
]


class Account(Protocol):
    """What a service reads of a connection's settings."""

    @property
    def api_version(self) -> ApiVersion:
        """The version of Hedra's API that the key is for."""

    @property
    def api_key(self) -> str:
        """The API key."""

    @property
    def namespace(self) -> uuid.UUID:
        """The namespace of the ids that are made for generations and uploads."""

    @property
    def workspace_id(self) -> str | None:
        """The workspace that pays if an operator names none."""

    @property
    def idempotency(self) -> KeyPlace:
        """Where a submit carries its idempotency key (v3)."""

    @property
    def prices(self) -> Prices:
        """US dollars per second that replace the provider's own, by model and resolution (v3)."""

    @property
    def speech_model(self) -> str:
        """The model that speaks texts (v3)."""


class Source(Protocol):
    """An open file of the user's: :class:`hedra_provider.storage.source.SourceFile` is one."""

    @property
    def file(self) -> SizedFile:
        """Its content, open until the task has submitted."""

    @property
    def asset_type(self) -> str:
        """``image``, ``audio`` or ``video``."""

    @property
    def sha256(self) -> str:
        """The hash of its content, in hex."""

    @property
    def duration_ms(self) -> int | None:
        """Its length when it is played, in milliseconds; None if it can't be measured."""

    @property
    def at_most_ms(self) -> int | None:
        """The same with the padding at both ends, in milliseconds: Hedra may bill it."""


class Upload(Protocol):
    """Runs an upload: logs it, and names the user's file in its error. Airflow's side gives it."""

    def __call__(self, source: Any, upload: Call[StoredAsset], /) -> Call[StoredAsset]:
        """Return a call that runs ``upload``, the upload of ``source``, and returns what it returns."""


class Draft(Protocol):
    """A request that is checked and ready to be submitted."""

    @property
    def variations(self) -> int:
        """How many generations it makes: 1, or the size of a batch (v2)."""

    @property
    def workspace_id(self) -> str | None:
        """The workspace that pays; None for the key's own."""

    @property
    def cost(self) -> str | None:
        """What it costs, by an estimate that was made, and compared with its limit, before."""

    def kept(self) -> str | None:
        """Return the request as a text for :meth:`Hedra.restored`; None if there is no such text."""


class CheckedAvatar(Protocol):
    """A request for an avatar video whose arguments are checked. Its files are not open yet."""

    def limits(self, kind: str) -> Any:
        """
        Return what the model takes as its ``image`` or its ``audio``; None if that is not known.

        The result has ``max_file_size_bytes``, ``min_dimension_px``, ``max_dimension_px``,
        ``min_duration_ms``, ``max_duration_ms`` and ``longest_ms``, each of which may be None.
        """


class PaidOnce(Protocol):
    """Pays once for one request of one task run, in all its attempts."""

    chooses_ids: bool
    """Whether a submit chooses the id of its generation, so that it is known before."""

    def find(self, variations: int) -> Call[list[Submission] | None]:
        """
        Find what earlier attempts of this attempt group paid for. It needs neither the request nor its files.

        v2 sends nothing on the first try: there is no earlier attempt. v3 reads the records on every try, and
        where the outcome of an earlier submit is unknown, it may send the recorded bytes again.

        :param variations: How many generations the request makes.
        :return: A submission for each; None if one is missing: the request must be drafted.
        """

    def named(self, generation_id: str) -> Call[Submission]:
        """
        Return the generation that the user names in the operator's ``generation_id``. Reads only.

        :return: Its submission, to be adopted; ``paid_here`` says whether it is this task run's payment.
        :raises HedraValueError: If the id is one of another version of Hedra's API.
        :raises HedraNotFoundError: If Hedra does not know it.
        """

    def plan(self, draft: Any, *, outcome_unknown: bool) -> Call[list[Plan]]:
        """
        Decide for each generation whether it is adopted or submitted. Reads only.

        :param draft: The request, drafted by the same service.
        :param outcome_unknown: Whether an earlier submit of this try may have been accepted.
        :return: The plans. The id of a generation that must be submitted is empty where Hedra gives it (v3).
        """

    def submit(
        self, draft: Any, plans: Sequence[Plan], *, retry_in_place: bool, notify: Callable[[str], None]
    ) -> Call[list[Submission]]:
        """
        Submit what must be submitted, once, and adopt the rest. On v3 this uploads the files, too.

        :param draft: The request, drafted by the same service.
        :param plans: Of :meth:`plan`.
        :param retry_in_place: Whether a rate-limited submit is repeated here for a while.
        :param notify: Receives a sentence for a log when a submit fails and this call goes on.
        :return: A submission for each plan. Its plan has the id that the generation was to have; where Hedra
            gave it, that one.
        :raises HedraError: If it was rejected or rate-limited, or its outcome stays unknown.
        """

    def may_be_paid(self, variations: int) -> Call[list[str]]:
        """Return the ids of generations that earlier attempts may have paid for. Reads only."""

    def not_found_again(self, generation_ids: Sequence[str]) -> list[str]:
        """Return those generations that a retry would not find, and so might pay for again. Sends nothing."""

    def is_last(self, generations: Sequence[Generation]) -> bool:
        """
        Return whether generations are what was requested. Sends nothing.

        If not, another paid step needs them, as an avatar needs its speech on v3: once they are complete, the
        task run continues at :meth:`find`.
        """

    def ended(self, generations: Sequence[Generation]) -> None:
        """
        Record that generations ended, where records are kept. Sends nothing.

        :raises HedraStateError: If that can't be recorded.
        """

    def earlier_step(self) -> Call[Generation | None]:
        """Return the generation that the result was made from, as an avatar from its speech on v3."""


class Hedra(Protocol):
    """
    All that Airflow's side needs of Hedra, for one connection.

    Every call raises :class:`hedra_provider.api.errors.HedraError`.
    """

    api_version: ApiVersion
    """The version of Hedra's API."""

    currency: str
    """What the key pays with: ``credits`` or ``USD``."""

    keeps_uploads: bool
    """Whether an upload stays at Hedra as an asset. v3 keeps it for an hour and gives it no id: there, the
    task that submits sends its files itself."""

    @property
    def speech_model(self) -> str | None:
        """The model that speaks texts; None where the account's voices belong to no model (v2)."""

    needs_records: bool
    """Whether nothing may be submitted without a durable record of it."""

    # What is submitted

    def upload(
        self, source: Source, *, workspace_id: str | None, only_for: str | None = None
    ) -> Call[StoredAsset]:
        """
        Upload a file, unless the account has its bytes as an asset of the same type.

        :param source: The file.
        :param workspace_id: The workspace that owns the asset; None for the key's own.
        :param only_for: The key of a task run that needs an asset of its own. Default: None, any is reused.
        """

    def check_avatar(
        self, request: AvatarRequest, *, audio: str | None, workspace_id: str | None, validate: bool
    ) -> Call[CheckedAvatar]:
        """
        Check the arguments of an avatar video. A wrong one needs no file and no request.

        :param request: The arguments.
        :param audio: The audio as the user names it; None where a text is spoken.
        :param workspace_id: The workspace that pays; None for the key's own.
        :param validate: Whether to compare them with the limits of the account's models.
        :raises HedraValueError: Naming the argument that is wrong.
        """

    def draft_avatar(
        self,
        checked: Any,
        *,
        image: Source | str,
        audio: Source | str | None,
        only_for: str | None,
        upload: Upload,
    ) -> Call[Draft]:
        """
        Draft the request for an avatar video.

        v2 uploads the files here. v3 uploads them in :meth:`PaidOnce.submit`, if it must submit.

        :param checked: Of :meth:`check_avatar` of the same service.
        :param image: The portrait.
        :param audio: The voice; None where a text is spoken.
        :param only_for: As for :meth:`upload`.
        :param upload: Runs each upload.
        """

    def draft_body(self, body: Mapping[str, Any], *, workspace_id: str | None, validate: bool) -> Call[Draft]:
        """
        Draft any request.

        :param body: The body as Hedra documents it, without ids.
        :param workspace_id: The workspace that pays; None for the key's own.
        :param validate: Whether to compare it with the limits of its model, where it names one.
        :raises HedraValueError: If the body is wrong.
        """

    def plain_draft(self, body: Mapping[str, Any]) -> Draft:
        """Return a draft of a body as it is. Only ids are checked, by :meth:`PaidOnce.plan`."""

    def restored(self, kept: str, cost: str | None) -> Draft:
        """
        Return the draft that :meth:`Draft.kept` wrote down.

        :param kept: The text.
        :param cost: What it costs, by the estimate that was compared with the limit.
        """

    def variations(self, body: Mapping[str, Any] | None) -> int:
        """Return how many generations a body asks for: 1, or the size of a batch (v2)."""

    # Paid once

    def paid_once(self, run: RunIdentity, *, records: SubmitRecords | None = None) -> PaidOnce:
        """
        Return what pays once for a task run.

        :param run: The task run.
        :param records: Where its submits are recorded. Default: None; only v3 needs it.
        :raises HedraConfigurationError: If it needs records, and there are none.
        """

    # Money

    def estimate(self, draft: Any, generations: int, *, required: bool) -> Call[Estimate | None]:
        """
        Estimate what a submit will cost.

        :param draft: The request, drafted by the same service.
        :param generations: How many are to be submitted.
        :param required: Whether a limit depends on it. If not, no request is sent only for the estimate.
        :return: None if no estimate can be made.
        """

    def estimate_all(self, requests: Sequence[PricedRequest], *, param: str) -> Call[list[Estimate | None]]:
        """
        Estimate what many requests will cost.

        :param requests: The requests.
        :param param: The parameter that holds them, for messages: ``requests[3]: ...``.
        :return: An estimate for each; None where it can't be made.
        """

    def require_within(self, found: Estimate | None, limits: Limits, what: str) -> None:
        """
        Reject a request that may cost more than its limit.

        :param found: The estimate; its upper bound is compared.
        :param limits: The limits, one for each currency.
        :param what: What is paid for, for the message.
        :raises HedraValueError: If the upper bound is above the limit, if there is a limit and no estimate,
            or if only the limit in the other currency is given.
        """

    def require_available(self, found: Estimate, balance: Balance) -> None:
        """
        Reject requests that the balance can't pay.

        :raises HedraInsufficientCreditsError: If less is available than the upper bound.
        """

    def total(self, estimates: Iterable[Estimate]) -> Estimate:
        """Return the sum of estimates; 0 without any."""

    def balance(self, workspace_id: str | None, *, must_exist: bool = False) -> Call[Balance]:
        """
        Return what can be spent.

        :param workspace_id: The workspace that pays; None for the key's own.
        :param must_exist: Whether a workspace that the key does not know is an error. Default: False, the
            amount is None then.
        :raises HedraConfigurationError: If it must exist and does not.
        """

    # Waiting

    def require_own(self, generation_id: str, param: str = "generation_id") -> None:
        """
        Reject the id of a generation of another version of Hedra's API.

        :param generation_id: The id.
        :param param: The argument, for messages. Default: ``generation_id``.
        :raises HedraValueError: If it is such an id.
        """

    def poll(self, generation_id: str) -> Call[Generation | None]:
        """Return the status of a generation; None if Hedra does not know it (yet)."""

    def known(self, generation_id: str, *, repeat: bool = False) -> Call[Generation]:
        """
        Return the status of a generation that exists.

        :param repeat: Whether a 404 is repeated for 12 s, as it may come for a moment after a submit.
            Default: False.
        :raises HedraNotFoundError: If Hedra does not know it.
        """

    # Results

    def results(self, generation_ids: Sequence[str]) -> Call[dict[str, Generation]]:
        """Return finished generations with cost and size, by id, as far as Hedra has them."""

    def file_of(self, generation_id: str) -> Call[RemoteFile]:
        """Return the file of a complete generation, with a fresh URL."""

    def file_of_asset(self, asset_id: str, asset_type: str) -> Call[RemoteFile]:
        """
        Return the file of an asset, with a fresh URL.

        :param asset_id: The asset.
        :param asset_type: ``image``, ``audio`` or ``video``.
        """

    # Catalogue

    def voices(self) -> Call[list[Voice]]:
        """Return the voices that can speak a text."""

    def models(self, types: Iterable[str] = ()) -> Call[list[Any]]:
        """
        Return the models. The versions describe a model differently.

        :param types: What they generate, e.g. ``["video"]``. Default: all.
        """
