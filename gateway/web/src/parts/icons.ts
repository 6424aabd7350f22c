// Every icon of the console, by what it means here.
import {
  AlertTriangle, ArrowLeft, ArrowLeftRight, Ban, Check, ChevronDown, ChevronRight, Circle, CircleDashed, CircleDot, CircleHelp, CirclePause, CircleUser, CircleX, Clapperboard,
  Clock, Copy, Download, Ellipsis, Eraser, FileCog, Files, FolderOpen, Gauge, HardDrive, Image, KeyRound, Layers, LayoutDashboard, Link, ListChecks, Loader, LogOut, Monitor,
  Moon, MoveRight, Music, Network, Pause, Pencil, Play, Plus, QrCode, RadioTower, RotateCcw, Route, ScrollText, Search, Server, Settings, Share2, Shield, Shuffle, Smartphone, Sun,
  SunMoon, Trash2, Undo2, Upload, Users, Video, X,
} from "@lucide/vue";


/** One meaning each: server is a node, monitor a device, radio tower a lighthouse, shuffle a relay, phone a peer. */
export const icons = {
  alert: AlertTriangle, audio: Music, back: ArrowLeft, ban: Ban, check: Check, close: X, copy: Copy, dead: CircleX, disk: HardDrive, down: ChevronDown, download: Download,
  device: Monitor, edit: Pencil, events: ScrollText, file: FileCog, folder: FolderOpen, gauge: Gauge, help: CircleHelp, image: Image, job: ListChecks, key: KeyRound,
  late: CircleDashed, library: Clapperboard, lighthouse: RadioTower, link: Link, me: CircleUser, moon: Moon, more: Ellipsis, move: MoveRight, network: Network, next: ChevronRight,
  online: CircleDot, other: Files, overview: LayoutDashboard, pause: Pause, paused: CirclePause, people: Users, phone: Smartphone, play: Play, plus: Plus, pool: Layers, qr: QrCode,
  relay: Shuffle, release: Eraser, retry: RotateCcw, route: Route, search: Search, settings: Settings, server: Server, share: Share2, shield: Shield, signOut: LogOut, silent: Circle, sun: Sun,
  system: SunMoon, switch: ArrowLeftRight, trash: Trash2, undo: Undo2, upload: Upload, video: Video, wait: Loader, clock: Clock,
};

export type IconName = keyof typeof icons;
