// The elements of media-chrome for templates, which are checked strictly. They take any attribute.
import type { FunctionalComponent } from "vue";

type Element = FunctionalComponent<Record<string, unknown>>;

declare module "vue" {
  interface GlobalComponents {
    MediaCaptionsButton: Element;
    MediaCaptionsMenu: Element;
    MediaChromeMenu: Element;
    MediaControlBar: Element;
    MediaController: Element;
    MediaFullscreenButton: Element;
    MediaLoadingIndicator: Element;
    MediaMuteButton: Element;
    MediaPipButton: Element;
    MediaPlaybackRateMenu: Element;
    MediaPlayButton: Element;
    MediaSeekBackwardButton: Element;
    MediaSeekForwardButton: Element;
    MediaSettingsMenu: Element;
    MediaSettingsMenuButton: Element;
    MediaSettingsMenuItem: Element;
    MediaTimeDisplay: Element;
    MediaTimeRange: Element;
    MediaVolumeRange: Element;
  }
}

declare module "@vue/runtime-dom" {
  interface HTMLAttributes {
    slot?: string;
  }
}
