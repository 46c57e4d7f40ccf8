"""The services that routes use. They are built once per gateway replica, or by a test around a ledger in its process."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from lakehouse.archives.reader import ArchiveReader
from lakehouse.history.history import History
from lakehouse.ledger.interface import LedgerClient
from lakehouse.search import Search
from lakehouse.shared_files import SharedFiles
from lakehouse.storage.derived_files import derived_folder
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.signed_urls import Signer
from schemas.settings import Settings
from schemas.speech_engines import Engines
from serve.gateway.anonymous_limits import AnonymousLimits
from serve.gateway.auth import KeyRing
from serve.gateway.client_limits import ClientLimits
from serve.gateway.client_tokens import ClientTokens
from serve.gateway.jwt_issuer import JwtIssuer
from serve.live.streams import LiveStreams
from serve.services.archive_diffs import ArchiveDiffs
from serve.services.archive_results import ArchiveResults
from serve.services.archive_uploads import ArchiveUploads
from serve.services.awaited_transcriptions import AwaitedTranscriptions
from serve.services.client_secrets import ClientSecrets
from serve.services.conversation_recorder import ConversationRecorder
from serve.services.corrections import Corrections
from serve.services.history_import import HistoryImport
from serve.services.job_admission import JobAdmission
from serve.services.job_results import JobResults
from serve.services.known_speakers import KnownSpeakers
from serve.services.model_names import ModelNames
from serve.services.openai_transcriptions import OpenAITranscriptions
from serve.services.realtime import Realtime
from serve.services.recorded_consents import RecordedConsents
from serve.services.remote_submissions import RemoteSubmissions
from serve.services.render_files import RenderFiles
from serve.services.search_index_process import SearchIndexProcess
from serve.services.speaker_registry import SpeakerRegistry
from serve.services.speech import Speech
from serve.services.spoken_chars import SpokenChars
from serve.services.stored_answers import StoredAnswers
from serve.services.stored_sounds import StoredSounds
from serve.services.transcriptions import Transcriptions
from serve.services.usage import Usage
from serve.services.voice_cloning import Cloning
from serve.services.voice_names import VoiceNames
from serve.services.waveforms import Waveforms
from serve.services.webhook_secrets import WebhookSecrets
from serve.services.webhook_sender import WebhookSender
from serve.services.webhooks import Webhooks

_LEAVING_SECS: Final = 5.0
"""Time that realtime sessions have to end."""


@dataclass(frozen=True)
class Services:
    """The ledger, the stores, the engines, and the services over them. Services never see this container."""

    settings: Settings
    ledger: LedgerClient
    objects: Objects
    signer: Signer
    engines: Engines
    engine_revision: str
    keys: KeyRing
    stored_answers: StoredAnswers
    history: History
    search: Search
    shared_files: SharedFiles
    archives: ArchiveReader
    anonymous: AnonymousLimits
    client_limits: ClientLimits
    transcriptions: Transcriptions
    remote_submissions: RemoteSubmissions
    corrections: Corrections
    waveforms: Waveforms
    render_files: RenderFiles
    usage: Usage
    awaited: AwaitedTranscriptions
    known_speakers: KnownSpeakers
    speakers: SpeakerRegistry
    openai_transcriptions: OpenAITranscriptions
    model_names: ModelNames
    voice_names: VoiceNames
    live_streams: LiveStreams
    webhooks: Webhooks
    webhook_sender: WebhookSender
    job_results: JobResults
    history_import: HistoryImport
    speech: Speech
    realtime: Realtime
    client_secrets: ClientSecrets
    cloning: Cloning
    consents: RecordedConsents
    conversations: ConversationRecorder
    archive_uploads: ArchiveUploads
    archive_results: ArchiveResults
    archive_diffs: ArchiveDiffs

    @classmethod
    def build(
        cls,
        *,
        settings: Settings,
        ledger: LedgerClient,
        objects: Objects,
        secret: bytes,
        engines: Engines,
        engine_revision: str,
    ) -> Services:
        """Every service over these parts. ``secret``: 32 bytes, with which links, tokens and webhooks are signed."""
        upload_bytes = settings.limits.max_upload_bytes
        index_folder = derived_folder(settings.home)
        history = History(
            Location.of(settings),
            ledger.records,
            cache_bytes=settings.storage.read_cache_bytes,
            index_folder=index_folder,
        )
        search = Search(history, index_folder=index_folder, index_maker=SearchIndexProcess(index_folder))
        history.build_ahead(search.build_ahead)
        archives = ArchiveReader(Location.of(settings))
        secrets = WebhookSecrets(secret)
        admission = JobAdmission(settings.limits, ledger.jobs)
        transcriptions = Transcriptions(ledger.jobs, history, objects, engines, engine_revision, upload_bytes, admission)
        awaited = AwaitedTranscriptions(transcriptions, engines, settings.jobs.max_attempts)
        known_speakers = KnownSpeakers(settings, objects, engines)
        speakers = SpeakerRegistry(
            ledger.speakers, objects, known_speakers, require_consent=settings.speech.require_consent
        )
        spoken = SpokenChars(settings.limits)
        sounds = StoredSounds(settings, objects)
        speech = Speech(settings, ledger.voices, ledger.records, objects, engines, spoken)
        voice_names = VoiceNames(settings)
        conversations = ConversationRecorder(objects, ledger.records)
        return cls(
            settings=settings,
            ledger=ledger,
            objects=objects,
            signer=Signer(objects, secret),
            engines=engines,
            engine_revision=engine_revision,
            keys=KeyRing(
                ledger.keys,
                ClientTokens(secret),
                JwtIssuer.of(settings.auth),
                settings.auth,
            ),
            stored_answers=StoredAnswers(objects, secret),
            history=history,
            search=search,
            shared_files=SharedFiles(Location.of(settings), objects, dt.timedelta(hours=settings.storage.orphan_hours)),
            archives=archives,
            anonymous=AnonymousLimits(settings.speech),
            client_limits=ClientLimits(settings.limits),
            transcriptions=transcriptions,
            remote_submissions=RemoteSubmissions(settings.limits, ledger.jobs, transcriptions),
            corrections=Corrections(objects, transcriptions),
            waveforms=Waveforms(objects, sounds),
            render_files=RenderFiles(objects, sounds),
            usage=Usage(history),
            awaited=awaited,
            known_speakers=known_speakers,
            speakers=speakers,
            openai_transcriptions=OpenAITranscriptions(awaited, known_speakers, speakers),
            model_names=ModelNames(settings),
            voice_names=voice_names,
            live_streams=LiveStreams(settings, engines, ledger.jobs, objects, engine_revision),
            webhooks=Webhooks(ledger.webhooks, secrets),
            webhook_sender=WebhookSender(settings.webhooks, ledger.webhooks, secrets),
            job_results=JobResults(ledger.jobs, objects, upload_bytes),
            history_import=HistoryImport(ledger.jobs, ledger.records, objects),
            speech=speech,
            realtime=Realtime(settings, engines, speech, spoken, voice_names, conversations, history),
            client_secrets=ClientSecrets(objects),
            cloning=Cloning(settings, ledger.voices, objects, engines),
            consents=RecordedConsents(settings, ledger.consents, objects),
            conversations=conversations,
            archive_uploads=ArchiveUploads(objects, upload_bytes),
            archive_results=ArchiveResults(objects, ledger.archives, ledger.jobs),
            archive_diffs=ArchiveDiffs(archives, history, objects),
        )

    async def close(self) -> None:
        """End sessions, downloads and the making of indexes, store unfinished recordings, and end the child processes that
        decode and encode."""
        self.search.close()
        await self.history.close()
        await self.realtime.drain(_LEAVING_SECS)
        await self.remote_submissions.close()
        await self.speech.drain()
        await self.conversations.close()
        await self.live_streams.close()

    async def signed_url(self, key: str, download_name: str) -> str:
        """An absolute URL that serves the object without a key for FLUXIONS_SIGNED_URL_SECS."""
        url = await self.signer.sign(key, download_name, self.settings.auth.signed_url_secs)
        return f"{self.settings.server.url}{url}" if url.startswith("/") else url


def services(request: Request) -> Services:
    """FastAPI dependency: the replica's services."""
    return request.app.state.services  # type: ignore[no-any-return]
