namespace Irpwright.Verification.Tracking;

/// <summary>A buffer whose pages MmProbeAndLockPages or a relative of it locked and nobody unlocked yet.</summary>
/// <param name="Length">Bytes.</param>
/// <param name="By">The driver that did it; null for the kernel, which locks buffers of requests.</param>
public readonly record struct LockedBuffer(ulong Address, uint Length, CodePlace? By);
