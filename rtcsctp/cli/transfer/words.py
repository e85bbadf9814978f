"""The words that codes are made of: 512 of them, so each carries nine bits.

All are common and short, and few differ from another by a single letter. Their order is part of
what a code means (its last word checks the others): it must not change.
"""

from __future__ import annotations

from typing import Final

__all__ = ["WORDS"]

_TEXT: Final = """
acorn actor adult agent album alert angel ankle apple apron arena armor arrow atlas attic award
badge bagel baker bamboo banana banjo barrel basil basket beacon beaver bench bike birch bishop
blanket blossom board bonus book border bottle boulder bowl branch brave bread brick bridge
bronze broom brother brush bubble bucket buffalo bugle butter button cabin cable cactus camel
camera canal candle canoe canvas canyon caramel carbon cargo carpet carrot castle cedar cello
cement center cereal chain chalk cherry chess chief choir cider cinema circle citrus clay cliff
clock cloud clover coach cobalt cocoa coffee comet compass copper coral corner cotton county
cousin cradle crane crater crayon creek cricket crown crystal cube curtain cycle daisy dance
dawn delta denim desert dew diamond diary dinner doctor dolphin domino donkey door dragon drama
drawer dream drum duck dune eagle earth easel echo eclipse elbow elder elephant elm ember
emerald engine envelope evening fabric falcon family farm feather fence fern ferry festival
fiddle field fire fish flag flask flint flower flute forest forge fork fossil fountain fox frame
friend frost fruit galaxy garden garlic gate gentle giant ginger glacier glove goat gold goose
grain granite grape grass gravel green guitar hammer harbor harp hat hawk hazel heart hedge
helmet heron hinge hockey honey horizon horse hotel igloo indigo ink inlet iris iron island
ivory ivy jacket jaguar jar jasmine jelly jewel jigsaw journal judge juice jungle juniper kayak
kettle key kingdom kite kitten koala ladder lagoon lake lamp lantern laser latch lava lavender
leaf leather lemon lens letter lever library light lilac lily lime linen lion lizard lobster
lotus lumber lunar lynx machine magnet magpie mango mantle maple marble market marsh meadow
medal melody melon mercury metal meteor mill mint mirror mitten monkey moon morning mosaic moss
moth motor mountain mouse museum music mustard napkin nectar needle nest nickel night noble
noodle north novel nutmeg oak oasis ocean octave olive onion opal opera orange orbit orchard
orchid organ otter oven oyster page palace palm panda panther paper parade parcel parrot pasta
path peach peanut pearl pebble pelican pencil penguin pepper piano picnic pigeon pillow pilot
pirate planet plaza plum poem polar pony poppy potato prairie prism puddle pulley pumpkin puppet
puzzle quartz queen quill quilt rabbit radar radio raft ranch raven ribbon rice ring river road
robin robot rocket roof rose ruby rudder saddle saffron sail salad salmon salt sand satin saturn
scarf school scooter seal season shadow sheep shell shield ship shore silk silver singer sister
sketch skill slate sled smile snow soap socket sofa solar spark sparrow spice spider spoon
spring spruce squash stable stage star statue steam stone stork storm straw stream street sugar
summer sunset swan swing tailor tango teapot temple tennis thistle thread thumb thunder ticket
tiger timber toast tomato topaz torch tower tractor trail treaty trellis trumpet tulip tunnel
turkey turtle tweed twig umbrella uncle valley vanilla velvet village vine violet violin visitor
volcano voyage waffle wagon walnut walrus water wave weaver wheat whistle willow window winter
wizard wolf wonder wool yacht yarn yellow yogurt zebra zenith zigzag zinc
"""

WORDS: Final = tuple(_TEXT.split())
