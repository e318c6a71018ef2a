// A DOM without a network. It must be loaded before Vue, which looks for a document while it loads.

import { GlobalRegistrator } from "@happy-dom/global-registrator";

GlobalRegistrator.register({
  url: "http://localhost/",
  settings: {
    disableErrorCapturing: true, // an error in an event listener fails the test
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
