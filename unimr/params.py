"""The sections of `params.yaml` as typed, strict objects: one for every stage, of the stage's own name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from unimr.model_params import ModelParams
from unimr.section import PositiveInt, Rate, Section, Share, Temperature, Weight


class FetchParams(Section):
    """Stage `fetch`: how long the download may take, in seconds."""

    timeout_seconds: PositiveInt


class TestShare(Section):
    """Shares held out for test: of items, of (item, language) pairs, of keywords."""

    item: Share
    pair: Share
    keyword: Share


class UtteranceCounts(Section):
    """Annotated utterances made per language."""

    train: PositiveInt
    test: PositiveInt


class PrepareParams(Section):
    """Stage `prepare`: which sources and languages, and how splits are drawn."""

    sources: list[Literal["emoji", "import", "published"]] = Field(min_length=1)
    languages: list[str] = Field(min_length=1)
    untrained_languages: list[str]
    unseen_styles: list[str]
    image_size: Annotated[int, Field(ge=16, le=512)]
    split_seed: int
    test_share: TestShare
    utterances_per_language: UtteranceCounts
    base_items: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _published_stands_alone(self) -> Self:
        if "published" in self.sources and set(self.sources) != {"published"}:
            raise ValueError("sources: `published` has intents and splits of its own and stands alone")
        return self


class SourceParams(Section):
    """A published data set: its name, its folder below `data.root`, and how often it is drawn beside the others.

    `lang` is the language of texts whose format does not state one.
    """

    name: Literal[
        "flickr", "flickr8kcn", "karpathy", "multi30k", "coco", "crossmodal", "xtd10",
        "massive", "xsid", "xquad", "ntrex", "tatoeba", "webdataset",
    ]  # fmt: skip
    root: str = ""
    weight: Annotated[float, Field(gt=0)] = 1.0
    lang: str = "en"


class DataParams(Section):
    """Published data sets (`docs/datasets.md`) for the source `published` of stage `prepare`.

    With `language_temperature` t a language with n texts is drawn in proportion to n^t: 1 as they are, 0 all alike.
    """

    root: str
    sources: list[SourceParams]
    language_temperature: Share


class ValidateParams(Section):
    """Stage `validate`: the folder of the suites, and the share of quarantined rows of a table above which it stops."""

    suites: str
    max_quarantined_share: Share


class TrainParams(Section):
    """What every training stage has: length, batch, optimiser, and how often a checkpoint is written (in steps).

    A stage of no steps hands its modules on as they begin.
    `chunk_size` rows are encoded at a time where the memory for the gradient of a whole batch is short; 0: the batch.
    """

    seed: int
    steps: Annotated[int, Field(ge=0)]
    batch_size: PositiveInt
    chunk_size: Annotated[int, Field(ge=0)]
    learning_rate: Rate
    weight_decay: Weight
    warmup_steps: Annotated[int, Field(ge=0)]
    checkpoint_every: PositiveInt


class TrainImageParams(TrainParams):
    """Stage `train_image`: warms the image encoder up."""

    contrast_weight: Weight
    min_temperature: Temperature


class TeacherParams(Section):
    """A frozen sentence encoder to learn from: a SentenceTransformer folder or hub name, and the weight of its loss.

    `languages` are those it knows: texts in others learn from it through the names of their items in these.
    """

    name: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0)]
    languages: list[str] = Field(default=["en"], min_length=1)


class TrainOnTextsParams(TrainParams):
    """What stages that train on texts of items have; the n-gram table has a learning rate of its own.

    Texts are compared with the proxies of all items (`proxy_weight`) and, in pairs, with the other texts of the batch
    (`contrast_weight`). Of a text of more than `window_words` words so many in a row are taken; 0: all. The share
    `word_dropout` of what is taken is left out at random.
    """

    table_learning_rate: Rate
    proxy_weight: Weight
    contrast_weight: Weight
    window_words: Annotated[int, Field(ge=0)]
    word_dropout: Share
    min_temperature: Temperature

    @model_validator(mode="after")
    def _texts_are_compared(self) -> Self:
        if not self.proxy_weight and not self.contrast_weight:
            raise ValueError("proxy_weight and contrast_weight are both 0, so nothing is learned of texts; raise one")
        return self


class TrainTextParams(TrainOnTextsParams):
    """Stage `train_text`: the text encoder."""

    image_weight: Weight
    teacher: TeacherParams | None


class TrainNluParams(TrainParams):
    """Stage `train_nlu`: intent and slots; the n-gram table of the text encoder is tuned at a rate of its own."""

    table_learning_rate: Rate
    asked_weight: Weight


class TrainJointParams(TrainOnTextsParams):
    """Stage `train_joint`: everything together, weighted, with the regression gate.

    Without `nlu_batch_size` there are no utterances, and without `image_weight` and `caption_weight` no pictures.
    Photographs are cropped and re-lit at random with the strength `augmentation`.
    """

    image_batch_size: PositiveInt
    nlu_batch_size: Annotated[int, Field(ge=0)]
    image_weight: Weight
    caption_weight: Weight
    captions: PositiveInt
    augmentation: Annotated[float, Field(ge=0, le=2)]
    nlu_weight: Weight
    regression_margin: Share


class EvaluateParams(Section):
    """Stage `evaluate`: bootstrap intervals."""

    bootstrap_samples: PositiveInt
    seed: int


class SampleCost(Section):
    """What training on a sample of each kind costs, as multiples of one text."""

    text: Annotated[float, Field(gt=0)]
    picture: Annotated[float, Field(gt=0)]
    utterance: Annotated[float, Field(gt=0)]


class PeerRates(Section):
    """Peak learning rates of a peer that is trained: of its dense parameters and of the n-gram table."""

    learning_rate: Rate
    table_learning_rate: Rate


class StudyParams(Section):
    """`unimr study`: which variants and peers, how many seeds, and what each run may spend (`unimr/study`).

    `renderings` is how many pictures of an item a step draws: two, or one where an item has no other, as a photograph.
    `utterances_ask` says whether utterances ask for items, as those of the catalogue do. Commands to an assistant
    do not: they are left out, and cost nothing, where neither intents nor slots are learned.
    """

    profile: str
    variants: list[str] = Field(min_length=1)
    peers: list[str]
    sentence_transformers: PeerRates
    clip: PeerRates
    seeds: PositiveInt
    jobs: PositiveInt
    budget: Annotated[float, Field(gt=0)]
    cost: SampleCost
    renderings: Literal[1, 2]
    utterances_ask: bool
    bootstrap_samples: Annotated[int, Field(ge=100)]


class EmbedParams(Section):
    """Stage `embed`: items encoded at a time."""

    batch_size: PositiveInt


class GateTolerance(Section):
    """How far each measure of the headline may lie below that of the published model."""

    name_to_name_mrr: Share
    keyword_to_item_mrr: Share
    intent_to_item_mrr: Share
    intent_distractor_to_item_mrr: Share
    name_to_image_trained_recall_at_10: Share
    name_to_image_unseen_style_recall_at_10: Share
    nlu_intent_accuracy: Share
    nlu_slot_f1: Share
    composed_to_image_recall_at_10: Share
    untrained_name_to_name_mrr: Share


class GateParams(Section):
    """When a version may be published; the limit is in queries a language and task, where models are measured anew."""

    limit_per_language: PositiveInt
    tolerance: GateTolerance


class IndexParams(Section):
    """Stage `index`: where it lives and what it must reach before it is published."""

    uri: str
    index_type: Literal["FLAT", "HNSW", "IVF_SQ8"]
    text_languages: list[str] = Field(min_length=1)
    min_recall_at_10: Share
    keep_versions: PositiveInt
    gate: GateParams


class DriftParams(Section):
    """How a window of traffic is compared with the reference; see `unimr.monitoring.drift`."""

    alpha: Annotated[float, Field(gt=0, le=0.2)]
    permutations: Annotated[int, Field(ge=999, le=1_000_000)]
    seed: int
    window_days: Annotated[float, Field(gt=0)]
    reference_queries: PositiveInt
    max_queries: PositiveInt
    max_queries_of_session: PositiveInt
    min_queries: PositiveInt
    min_sessions: Annotated[int, Field(ge=10)]
    min_queries_of_language: PositiveInt


class MonitorParams(Section):
    """Stage `monitor`: what is asked of the published index, and how its traffic is compared with the reference."""

    max_age_days: Annotated[float, Field(gt=0)]
    min_canary_recall_at_10: Share
    max_labelled_recall_loss: Share
    drift: DriftParams


class DeployParams(Section):
    """The work pool that the flows run in; `job_variables` are those of its type."""

    work_pool: Annotated[str, Field(min_length=1)]
    work_pool_type: Literal["process", "docker", "kubernetes"]
    job_variables: dict[str, Any]

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if self.work_pool_type != "process" and "image" not in self.job_variables:
            raise ValueError(f"job_variables.image is missing; a work pool of type {self.work_pool_type} needs it")
        return self


class QueryLogParams(Section):
    """The query log: where, whether with the text or a keyed hash of it, days it is kept, entries that may wait."""

    file: Annotated[str, Field(min_length=1)]
    url: str
    store_text: bool
    retention_days: PositiveInt
    max_waiting: PositiveInt


class ServeParams(Section):
    """`unimr serve`: address, API keys, batches, when it refuses, how it follows the index, how it ends."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, le=65535)]
    keys_file: str
    requests_per_minute: PositiveInt
    max_batch: Annotated[int, Field(ge=1, le=256)]
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)]
    max_waiting: PositiveInt
    max_delay_ms: PositiveInt
    poll_seconds: Annotated[float, Field(gt=0, le=3600)]
    drain_seconds: Annotated[int, Field(ge=1, le=600)]
    query_log: QueryLogParams


class Params(Section):
    """All of `params.yaml`: a section a stage, and those of the factory around them."""

    profile: str
    fetch: FetchParams
    data: DataParams
    prepare: PrepareParams
    validate_: ValidateParams = Field(alias="validate")
    model: ModelParams
    train_image: TrainImageParams
    train_text: TrainTextParams
    train_nlu: TrainNluParams
    train_joint: TrainJointParams
    evaluate: EvaluateParams
    study: StudyParams
    embed: EmbedParams
    index: IndexParams
    monitor: MonitorParams
    deploy: DeployParams
    serve: ServeParams
