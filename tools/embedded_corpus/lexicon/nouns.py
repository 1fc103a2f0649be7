"""The noun table.

A section `[class ...]` opens a list of nouns that belong to these semantic classes. A line is:
German, gender (m f n), genitive ending ("-" none), plural ("-" none), English[/irregular plural];
places and surfaces add where (German:English preposition, dative) and whereto (accusative, or dative after "zu").
A genitive in -n or -en marks the weak masculines, which take it in every case but the nominative singular.
Order is frequency: the first nouns of a section are the commonest.
"""

NOUNS = """
[person job adult]
Lehrer m s Lehrer teacher
Arzt m es Ärzte doctor
Lehrerin f - Lehrerinnen teacher
Student m en Studenten student
Ärztin f - Ärztinnen doctor
Koch m es Köche cook
Polizist m en Polizisten policeman/policemen
Bäcker m s Bäcker baker
Studentin f - Studentinnen student
Schüler m s Schüler pupil
Bauer m n Bauern farmer
Verkäuferin f - Verkäuferinnen saleswoman/saleswomen
Maler m s Maler painter
Anwalt m s Anwälte lawyer
Ingenieur m s Ingenieure engineer
Schülerin f - Schülerinnen pupil
Kellner m s Kellner waiter
Autor m s Autoren author
Richter m s Richter judge
Musiker m s Musiker musician
Krankenschwester f - Krankenschwestern nurse
Fahrer m s Fahrer driver
Gärtner m s Gärtner gardener
Journalistin f - Journalistinnen journalist
Forscher m s Forscher researcher
Kapitän m s Kapitäne captain
Sekretärin f - Sekretärinnen secretary
Pilot m en Piloten pilot
Soldat m en Soldaten soldier
Fotograf m en Fotografen photographer
Kellnerin f - Kellnerinnen waitress
Architekt m en Architekten architect
Schauspieler m s Schauspieler actor
Sängerin f - Sängerinnen singer
Händler m s Händler merchant
Dolmetscherin f - Dolmetscherinnen interpreter
[person adult]
Frau f - Frauen woman/women
Mann m es Männer man/men
Freund m es Freunde friend
Freundin f - Freundinnen friend
Nachbar m n Nachbarn neighbour
Kollege m n Kollegen colleague
Gast m es Gäste guest
Nachbarin f - Nachbarinnen neighbour
Kunde m n Kunden customer
Kollegin f - Kolleginnen colleague
Chef m s Chefs boss
König m s Könige king
Tourist m en Touristen tourist
Königin f - Königinnen queen
Bürgermeister m s Bürgermeister mayor
Prinzessin f - Prinzessinnen princess
[person child]
Kind n es Kinder child/children
Mädchen n s Mädchen girl
Junge m n Jungen boy
[family]
Bruder m s Brüder brother
Mutter f - Mütter mother
Vater m s Väter father
Schwester f - Schwestern sister
Sohn m es Söhne son
Tochter f - Töchter daughter
Großmutter f - Großmütter grandmother
Onkel m s Onkel uncle
Tante f - Tanten aunt
Großvater m s Großväter grandfather
Cousin m s Cousins cousin
Nichte f - Nichten niece
Neffe m n Neffen nephew
Enkel m s Enkel grandson
[animal pet]
Hund m es Hunde dog
Katze f - Katzen cat
Vogel m s Vögel bird
Maus f - Mäuse mouse/mice
[animal]
Pferd n es Pferde horse
Kuh f - Kühe cow
Schaf n es Schafe sheep/sheep
Löwe m n Löwen lion
Ziege f - Ziegen goat
Bär m en Bären bear
Ente f - Enten duck
Elefant m en Elefanten elephant
Hase m n Hasen hare
Affe m n Affen monkey
Wolf m s Wölfe wolf/wolves
Esel m s Esel donkey
Fuchs m es Füchse fox
Schwein n s Schweine pig
[food fruit]
Apfel m s Äpfel apple
Tomate f - Tomaten tomato
Birne f - Birnen pear
Orange f - Orangen orange
Banane f - Bananen banana
Zwiebel f - Zwiebeln onion
Kirsche f - Kirschen cherry/cherries
Erdbeere f - Erdbeeren strawberry/strawberries
Gurke f - Gurken cucumber
Nuss f - Nüsse nut
Zitrone f - Zitronen lemon
[food cooked]
Kartoffel f - Kartoffeln potato
Ei n s Eier egg
Wurst f - Würste sausage
Karotte f - Karotten carrot
Pilz m es Pilze mushroom
[food baked]
Kuchen m s Kuchen cake
Brötchen n s Brötchen roll
Keks m es Kekse biscuit
Pfannkuchen m s Pfannkuchen pancake
[stuff food_mass baked]
Brot n es - bread
[stuff food_mass cooked]
Fleisch n es - meat
Reis m es - rice
[stuff food_mass]
Käse m s - cheese
Obst n es - fruit
Butter f - - butter
Schokolade f - - chocolate
Zucker m s - sugar
Salz n es - salt
Honig m s - honey
Mehl n s - flour
[stuff drink]
Wasser n s - water
Kaffee m s - coffee
Milch f - - milk
Tee m s - tea
Wein m s - wine
Bier n s - beer
Saft m es - juice
Limonade f - - lemonade
[object thing]
Schlüssel m s Schlüssel key
Tasche f - Taschen bag
Koffer m s Koffer suitcase
Messer n s Messer knife/knives
Glas n es Gläser glass
Tasse f - Tassen cup
Geschenk n s Geschenke gift
Flasche f - Flaschen bottle
Teller m s Teller plate
Kamera f - Kameras camera
Blume f - Blumen flower
Ball m es Bälle ball
Stift m s Stifte pen
Löffel m s Löffel spoon
Korb m es Körbe basket
Regenschirm m s Regenschirme umbrella
Gabel f - Gabeln fork
Ring m s Ringe ring
Kerze f - Kerzen candle
Spiegel m s Spiegel mirror
Decke f - Decken blanket
Hammer m s Hämmer hammer
Puppe f - Puppen doll
Kissen n s Kissen pillow
Topf m es Töpfe pot
Eimer m s Eimer bucket
Fahrkarte f - Fahrkarten ticket
Schachtel f - Schachteln box
Münze f - Münzen coin
Seil n s Seile rope
Pfanne f - Pfannen pan
Säge f - Sägen saw
[object thing device]
Computer m s Computer computer
Lampe f - Lampen lamp
Radio n s Radios radio
Fernseher m s Fernseher television
Maschine f - Maschinen machine
Drucker m s Drucker printer
Heizung f - Heizungen heater
[thing timepiece object]
Uhr f - Uhren clock
Telefon n s Telefone telephone
[clothing thing]
Mantel m s Mäntel coat
Kleid n es Kleider dress
Hemd n es Hemden shirt
Hut m es Hüte hat
Jacke f - Jacken jacket
Schuh m s Schuhe shoe
Pullover m s Pullover sweater
Rock m s Röcke skirt
Mütze f - Mützen cap
Schal m s Schals scarf
Anzug m s Anzüge suit
Stiefel m s Stiefel boot
Handschuh m s Handschuhe glove
Krawatte f - Krawatten tie
[document thing]
Buch n es Bücher book
Brief m es Briefe letter
Zeitung f - Zeitungen newspaper
Bericht m s Berichte report
Roman m s Romane novel
Artikel m s Artikel article
Gedicht n s Gedichte poem
Vertrag m s Verträge contract
Nachricht f - Nachrichten message
Märchen n s Märchen fairy_tale
Zeitschrift f - Zeitschriften magazine
Liste f - Listen list
Rechnung f - Rechnungen bill
Antrag m s Anträge application
Tagebuch n s Tagebücher diary
Wörterbuch n s Wörterbücher dictionary
Landkarte f - Landkarten map
Notiz f - Notizen note
[vehicle owned]
Auto n s Autos car
Fahrrad n s Fahrräder bicycle
Boot n s Boote boat
Lastwagen m s Lastwagen lorry/lorries
Motorrad n s Motorräder motorcycle
Traktor m s Traktoren tractor
[vehicle transit]
Zug m es Züge train
Bus m ses Busse bus
Schiff n s Schiffe ship
Flugzeug n s Flugzeuge aeroplane
Straßenbahn f - Straßenbahnen tram
Taxi n s Taxis taxi
[door]
Tür f - Türen door
Fenster n s Fenster window
Tor n s Tore gate
[surface furniture]
Tisch m es Tische table auf:on auf:on
Regal n s Regale shelf/shelves in:on in:on
Schrank m s Schränke cupboard in:in in:in
Schreibtisch m s Schreibtische desk auf:on auf:on
Schublade f - Schubladen drawer in:in in:in
Kiste f - Kisten crate in:in in:in
[surface seat]
Stuhl m s Stühle chair auf:on auf:on
Bett n es Betten bed auf:on auf:on
Sofa n s Sofas sofa auf:on auf:on
Bank f - Bänke bench auf:on auf:on
Teppich m s Teppiche carpet auf:on auf:on
Sessel m s Sessel armchair auf:on auf:on
[place building]
Haus n es Häuser house in:in in:into
Schule f - Schulen school in:in in:to
Stadt f - Städte city in:in in:to
Museum n s Museen museum in:in in:to
Bahnhof m s Bahnhöfe station an:at zu:to
Kirche f - Kirchen church in:in in:to
Hotel n s Hotels hotel in:in in:to
Restaurant n s Restaurants restaurant in:in in:to
Bibliothek f - Bibliotheken library in:in in:to
Krankenhaus n es Krankenhäuser hospital in:in in:to
Schloss n es Schlösser castle in:in in:to
Universität f - Universitäten university an:at an:to
Brücke f - Brücken bridge auf:on auf:onto
Fabrik f - Fabriken factory in:in in:to
Theater n s Theater theatre in:in in:to
Turm m s Türme tower auf:on auf:onto
Flughafen m s Flughäfen airport an:at zu:to
Supermarkt m s Supermärkte supermarket in:in in:to
Bäckerei f - Bäckereien bakery in:in in:to
Kino n s Kinos cinema in:in in:to
Apotheke f - Apotheken pharmacy in:in in:to
[place outdoors]
Garten m s Gärten garden in:in in:into
Park m s Parks park in:in in:to
Dorf n es Dörfer village in:in in:to
Wald m es Wälder forest in:in in:into
Markt m s Märkte market auf:at auf:to
Straße f - Straßen street auf:on auf:onto
Strand m s Strände beach an:on an:to
See m s Seen lake an:by an:to
Fluss m es Flüsse river an:by an:to
Insel f - Inseln island auf:on auf:to
Berg m es Berge mountain auf:on auf:onto
Hafen m s Häfen harbour in:in zu:to
Wiese f - Wiesen meadow auf:in auf:into
Platz m es Plätze square auf:on auf:onto
Feld n es Felder field auf:in auf:into
Haltestelle f - Haltestellen stop an:at zu:to
Hof m es Höfe courtyard in:in in:into
[place room]
Küche f - Küchen kitchen in:in in:into
Zimmer n s Zimmer room in:in in:into
Büro n s Büros office in:in in:into
Keller m s Keller cellar in:in in:into
Wohnung f - Wohnungen flat in:in in:into
Wohnzimmer n s Wohnzimmer living_room in:in in:into
Werkstatt f - Werkstätten workshop in:in in:into
Flur m s Flure hallway in:in in:into
[question topic]
Frage f - Fragen question
[task topic]
Aufgabe f - Aufgaben task
Problem n s Probleme problem
Rätsel n s Rätsel riddle
[idea topic]
Plan m s Pläne plan
Idee f - Ideen idea
Fehler m s Fehler mistake
Regel f - Regeln rule
Entscheidung f - Entscheidungen decision
Vorschlag m s Vorschläge proposal
Lösung f - Lösungen solution
Geheimnis n ses Geheimnisse secret
[tale topic]
Geschichte f - Geschichten story/stories
Wahrheit f - - truth
Witz m es Witze joke
[music]
Lied n es Lieder song
[film topic]
Film m s Filme film
Theaterstück n s Theaterstücke play
Oper f - Opern opera
[instrument]
Gitarre f - Gitarren guitar
Geige f - Geigen violin
Klavier n s Klaviere piano
Flöte f - Flöten flute
[picture]
Bild n es Bilder picture
Porträt n s Porträts portrait
[event topic]
Reise f - Reisen trip
Konzert n s Konzerte concert
Fest n es Feste party/parties
Prüfung f - Prüfungen exam
Hochzeit f - Hochzeiten wedding
Sitzung f - Sitzungen meeting
Ausflug m s Ausflüge excursion
Kurs m es Kurse course
Ausstellung f - Ausstellungen exhibition
Spiel n s Spiele game
Besuch m s Besuche visit
Vorlesung f - Vorlesungen lecture
[unit]
Jahr n es Jahre year
Tag m es Tage day
Stunde f - Stunden hour
Woche f - Wochen week
Monat m s Monate month
Minute f - Minuten minute
"""
