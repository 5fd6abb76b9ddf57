namespace Irpwright.Wdk;

// Routines of a FAST_IO_DISPATCH table, named and with parameters as in the WDK. TRUE: the request is over, as IoStatus says; FALSE: it
// needs an IRP.

[Routine] public delegate BOOLEAN FAST_IO_READ(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, uint Length, BOOLEAN Wait, uint LockKey, PVOID Buffer,
    PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject);

[Routine] public delegate BOOLEAN FAST_IO_WRITE(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, uint Length, BOOLEAN Wait, uint LockKey, PVOID Buffer,
    PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject);

/// <summary>The buffers are the requestor's own, whatever the transfer method of the control code.</summary>
[Routine] public delegate BOOLEAN FAST_IO_DEVICE_CONTROL(PFILE_OBJECT FileObject, BOOLEAN Wait, PVOID InputBuffer, uint InputBufferLength, PVOID OutputBuffer,
    uint OutputBufferLength, uint IoControlCode, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject);

/// <summary><paramref name="TargetDevice"/> is being deleted; detaches <paramref name="SourceDevice"/> from it.</summary>
[Routine] public delegate void FAST_IO_DETACH_DEVICE(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT TargetDevice);
