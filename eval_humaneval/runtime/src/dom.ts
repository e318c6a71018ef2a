// A document without a network; loaded before Vue, which looks for one as soon as it is loaded.

import { GlobalRegistrator } from "@happy-dom/global-registrator";

GlobalRegistrator.register({
  url: "http://localhost/",
  settings: {
    disableErrorCapturing: true, // an error in an event's listener is the test's
    disableIframePageLoading: true,
    disableJavaScriptFileLoading: true,
    disableCSSFileLoading: true,
    handleDisabledFileLoadingAsSuccess: true,
    navigation: { disableMainFrameNavigation: true, disableChildFrameNavigation: true, disableChildPageNavigation: true },
  },
});

globalThis.fetch = async () => {
  throw new TypeError("there is no network: the test replaces `fetch` where a component needs it");
};
